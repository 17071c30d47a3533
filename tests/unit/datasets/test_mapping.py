from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from workbench.datasets.errors import MappingRefused
from workbench.datasets.mapping import quoted, recognise, sentence
from workbench.datasets.schemas import ColumnMapping, ColumnRoles


def given(**roles: Any) -> ColumnRoles:
    return ColumnRoles(**roles)


@pytest.mark.parametrize(
    ("columns", "prompt", "completion"),
    [
        (["prompt", "completion"], "prompt", "completion"),
        (["id", "Question", "ANSWER"], "Question", "ANSWER"),
        (["output", "instruction", "source_id"], "instruction", "output"),
        (["id", "user_message", "Assistant Message"], "user_message", "Assistant Message"),
        (["编号", "问题", "答案"], "问题", "答案"),
        (["prompt", "input", "completion", "label"], "prompt", "completion"),
        (["left", "right"], "left", "right"),
        (["body", "reply"], "body", "reply"),
        (["verdict", "question"], "question", "verdict"),
    ],
)
def test_usual_names_and_pairs_are_recognised(columns: list[str], prompt: str, completion: str) -> None:
    assert recognise("x.csv", columns, lambda: columns) == ColumnMapping(prompt=prompt, completion=completion)


@pytest.mark.parametrize(
    ("columns", "texts"),
    [(["id", "ask", "tell"], ["ask", "tell"]), (["ask", "when", "tell"], ["ask", "tell"])],
)
def test_the_only_two_text_columns_are_taken_in_their_order(columns: list[str], texts: list[str]) -> None:
    assert recognise("x.csv", columns, lambda: texts) == ColumnMapping(prompt="ask", completion="tell")


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "b", "c"],
        ["only"],
        ["instruction", "input", "output", "answer"],
        ["question", "answer", "response"],
        ["question", "x", "y"],
    ],
)
def test_it_asks_rather_than_guesses(columns: list[str]) -> None:
    with pytest.raises(MappingRefused) as refused:
        recognise("x.csv", columns, lambda: columns)
    assert refused.value.detail == (
        f"Cannot tell which column of x.csv is the prompt and which the completion among {quoted(columns)}; "
        'name them with prompt="…" and completion="…", or say what else it is with format="…".'
    )


def test_what_the_user_says_wins() -> None:
    columns = ["prompt", "completion", "better"]
    assert recognise("x.csv", columns, lambda: columns, given(completion="better")).completion == "better"
    assert (
        recognise("x.csv", columns, lambda: columns, given(prompt="completion", completion="prompt")).prompt
        == "completion"
    )


def test_one_given_column_helps_to_find_the_other() -> None:
    columns = ["ask", "hint", "output"]
    assert recognise("x.csv", columns, lambda: columns, given(prompt="ask")).completion == "output"


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(MappingRefused) as refused:
        recognise("x.csv", ["q", "a"], lambda: ["q", "a"], given(prompt="question"))
    assert refused.value.detail == 'x.csv has no column "question"; its columns are "q", "a".'


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(MappingRefused, match='"q" cannot be both the prompt and the completion'):
        recognise("x.csv", ["q", "a"], lambda: ["q", "a"], given(prompt="q", completion="q"))


def test_names_that_decide_cost_no_look_at_the_cells() -> None:
    def never() -> Sequence[str]:
        raise AssertionError("the file was read")

    recognise("x.csv", ["id", "question", "answer"], never)


def test_the_sentence_says_what_was_taken_for_what() -> None:
    mapping = ColumnMapping(prompt="question", completion="answer")
    columns = ["id", "question", "answer", "tag"]
    assert sentence(1204, "CSV (UTF-8, comma)", columns, mapping, []) == (
        'Read 1,204 rows of CSV (UTF-8, comma): took column "question" for the prompt and "answer" for the completion; '
        'ignored "id", "tag".'
    )
    assert sentence(1, "Parquet", ["question", "answer"], mapping, ["answer"]) == (
        'Read 1 row of Parquet: took column "question" for the prompt and "answer" for the completion; '
        'wrote the values of "answer" as text.'
    )


def test_long_lists_of_columns_are_cut() -> None:
    assert quoted([str(n) for n in range(20)]).endswith('"11" and 8 more')


@pytest.mark.parametrize("named", [{}, {"prompt": "nowhere"}])
def test_a_refusal_names_the_columns_one_by_one_for_a_panel(named: dict[str, str]) -> None:
    columns = ["a", "b", "c"]
    with pytest.raises(MappingRefused) as refused:
        recognise("x.csv", columns, lambda: columns, given(**named))
    assert [(problem.pointer, problem.message) for problem in refused.value.problems] == [
        ("/columns", name) for name in columns
    ]


def never() -> Sequence[Any]:
    raise AssertionError("the file was read")


OPENAI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"messages": OPENAI}, {"format": "messages", "messages": "messages"}),
        ({"id": 1, "conversations": SHAREGPT}, {"format": "messages", "messages": "conversations"}),
        ({"id": 1, "log": OPENAI, "at": "x"}, {"format": "messages", "messages": "log"}),
        (
            {"system": "Be kind", "chat": json.dumps(OPENAI)},
            {"format": "messages", "messages": "chat", "system": "system"},
        ),
        (
            {"instruction": "a", "input": "b", "output": "c"},
            {"prompt": "instruction", "input": "input", "completion": "output"},
        ),
        (
            {"Instruction": "a", "Input": "b", "Output": "c", "System": "d"},
            {"prompt": "Instruction", "input": "Input", "completion": "Output", "system": "System"},
        ),
        ({"指令": "a", "输入": "b", "输出": "c"}, {"prompt": "指令", "input": "输入", "completion": "输出"}),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"format": "preference", "prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            {"chosen": OPENAI, "rejected": OPENAI, "score": 1},
            {"format": "preference", "chosen": "chosen", "rejected": "rejected"},
        ),
        ({"text": "a"}, {"format": "text", "text": "text"}),
        ({"id": "x", "text": "a", "source": "b"}, {"format": "text", "text": "text"}),
        ({"text": "a", "label": "b"}, {"prompt": "text", "completion": "label"}),
        (
            {"prompt": "a", "completion": "b", "system": "c"},
            {"prompt": "prompt", "completion": "completion", "system": "system"},
        ),
        ({"question": "a", "answer": "b", "messages": None}, {"prompt": "question", "completion": "answer"}),
    ],
)
def test_common_formats_are_recognised(row: dict[str, Any], roles: dict[str, str]) -> None:
    texts = [name for name, value in row.items() if isinstance(value, str)]
    assert recognise("x.jsonl", list(row), lambda: texts, sample=lambda: [row]) == ColumnMapping.model_validate(roles)


def test_a_format_that_is_given_decides() -> None:
    columns = ["text", "label"]
    assert recognise("x.csv", columns, never, given(format="text"), never).text == "text"
    assert recognise("x.csv", ["body"], never, given(format="text"), never).text == "body"
    with pytest.raises(MappingRefused, match="Cannot tell"):
        recognise("x.csv", columns, never, given(format="preference"), never)


def test_a_role_that_its_format_does_not_know_is_refused() -> None:
    columns = ["chosen", "rejected", "prompt", "completion"]
    with pytest.raises(MappingRefused, match="the format preference knows no completion"):
        recognise("x.csv", columns, never, given(completion="completion"), never)


def test_usual_names_cost_no_look_at_the_values() -> None:
    recognise("x.csv", ["question", "answer"], never, sample=never)
    recognise("x.csv", ["prompt", "chosen", "rejected"], never, sample=never)


def test_the_sentence_tells_every_role_and_what_was_left_out() -> None:
    mapping = ColumnMapping(format="messages", messages="chat", system="persona")
    assert sentence(2, "JSON (UTF-8)", ["chat", "persona"], mapping, [], shortened=1) == (
        'Read 2 rows of JSON (UTF-8): took column "persona" for the system message and "chat" for the conversation; '
        "of 1 conversation, left out what came before the question or after the answer."
    )
