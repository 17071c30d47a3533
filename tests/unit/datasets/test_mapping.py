from __future__ import annotations

from collections.abc import Sequence

import pytest

from workbench.datasets.errors import MappingRefused
from workbench.datasets.mapping import quoted, recognise, sentence
from workbench.datasets.schemas import ColumnMapping


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
        ["instruction", "input", "output"],
        ["question", "answer", "response"],
        ["question", "x", "y"],
    ],
)
def test_it_asks_rather_than_guesses(columns: list[str]) -> None:
    with pytest.raises(MappingRefused) as refused:
        recognise("x.csv", columns, lambda: columns)
    assert refused.value.detail == (
        f"Cannot tell which column of x.csv is the prompt and which the completion among {quoted(columns)}; "
        'name them with prompt="…" and completion="…".'
    )


def test_what_the_user_says_wins() -> None:
    columns = ["prompt", "completion", "better"]
    assert recognise("x.csv", columns, lambda: columns, completion="better").completion == "better"
    assert recognise("x.csv", columns, lambda: columns, prompt="completion", completion="prompt").prompt == "completion"


def test_one_given_column_helps_to_find_the_other() -> None:
    columns = ["instruction", "input", "output"]
    assert recognise("x.csv", columns, lambda: columns, prompt="instruction").completion == "output"


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(MappingRefused) as refused:
        recognise("x.csv", ["q", "a"], lambda: ["q", "a"], prompt="question")
    assert refused.value.detail == 'x.csv has no column "question"; its columns are "q", "a".'


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(MappingRefused, match='"q" cannot be both'):
        recognise("x.csv", ["q", "a"], lambda: ["q", "a"], prompt="q", completion="q")


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
        recognise("x.csv", columns, lambda: columns, **named)
    assert [(problem.pointer, problem.message) for problem in refused.value.problems] == [
        ("/columns", name) for name in columns
    ]
