from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.datasets.conversation import Conversation, Conversations, RowRefused, looks_like_messages
from workbench.datasets.schemas import Column, ColumnMapping

OPENAI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]


def make(row: dict[str, Any], nested: tuple[str, ...] = (), **roles: str) -> Conversation:
    columns = [Column(name=name, type="json" if name in nested else "string") for name in row]
    return Conversations(ColumnMapping.model_validate(roles), columns).make(row)


def of(turns: Any, **more: Any) -> Conversation:
    return make({"m": turns, **more}, format="messages", messages="m", **{name: name for name in more})


def said(conversation: Conversation) -> list[str]:
    return [f"{message['role'][0]}:{message['content']}" for message in conversation.messages]


def test_a_prompt_and_a_completion() -> None:
    found = make({"q": "Hi", "a": "Ho"}, prompt="q", completion="a")
    assert said(found) == ["u:Hi", "a:Ho"]
    assert (found.transcript, found.answer, found.key) == ("Hi", "Ho", "Hi")


def test_an_instruction_with_its_input_and_a_system_message() -> None:
    roles = {"prompt": "i", "input": "x", "completion": "o", "system": "s"}
    assert said(make({"i": "Add", "x": "1 2", "o": "3", "s": "Be brief"}, **roles)) == [
        "s:Be brief",
        "u:Add\n\n1 2",
        "a:3",
    ]
    assert said(make({"i": "Add", "x": " ", "o": "3", "s": None}, **roles)) == ["u:Add", "a:3"]


@pytest.mark.parametrize("turns", [OPENAI, SHAREGPT, json.dumps(OPENAI), json.dumps(SHAREGPT)])
def test_conversations_of_openai_and_sharegpt(turns: Any) -> None:
    assert said(of(turns)) == ["u:Hi", "a:Ho"]


def test_nested_columns_are_stored_as_json() -> None:
    found = make({"m": json.dumps(OPENAI)}, nested=("m",), format="messages", messages="m")
    assert said(found) == ["u:Hi", "a:Ho"]


def test_a_longer_conversation_is_shown_as_a_transcript() -> None:
    found = of([{"role": "developer", "content": "Be kind"}, *OPENAI, {"role": "user", "content": "Why?"}, OPENAI[1]])
    assert said(found) == ["s:Be kind", "u:Hi", "a:Ho", "u:Why?", "a:Ho"]
    assert found.transcript == "system: Be kind\n\nuser: Hi\n\nassistant: Ho\n\nuser: Why?"
    assert json.loads(found.key) == found.messages[:-1]
    assert not found.shortened


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert said(of([{"role": "user", "content": parts}, OPENAI[1]])) == ["u:Hi", "a:Ho"]


@pytest.mark.parametrize("extra", [([OPENAI[1]], []), ([], [OPENAI[0]]), ([OPENAI[1]], [OPENAI[0]])])
def test_what_comes_before_the_question_or_after_the_answer_is_left_out(extra: tuple[list[Any], list[Any]]) -> None:
    found = of([*extra[0], *OPENAI, *extra[1]])
    assert said(found) == ["u:Hi", "a:Ho"]
    assert found.shortened


def test_a_system_message_comes_from_one_place() -> None:
    own = [{"role": "system", "content": "Own"}, *OPENAI]
    assert said(of(OPENAI, system="Column")) == ["s:Column", "u:Hi", "a:Ho"]
    assert said(of(own, system=" "))[0] == "s:Own"
    with pytest.raises(RowRefused, match='both in "system" and in "m"'):
        of(own, system="Column")


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        (None, 'has no list of messages in "m" but null'),
        ("Hi", 'has no list of messages in "m" but "Hi"'),
        ([], 'has no list of messages in "m" but []'),
        ("[{", 'has something in "m" that is not valid JSON'),
        ("[" * 100_000, 'has something in "m" that is not valid JSON'),
        (["Hi"], 'has something in "m" that is no message but "Hi"'),
        ([{"content": "Hi"}], 'has a message of the role null in "m"'),
        ([{"role": "tool", "content": "Hi"}], 'has a message of the role "tool" in "m"'),
        ([OPENAI[0], {"role": "assistant", "content": None, "tool_calls": [{}]}], "has a message with a tool call"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], 'has a message in "m" that is not only text'),
        ([{"role": "user", "content": " "}, OPENAI[1]], 'has an empty message in "m"'),
        ([{"role": "user", "content": "a\0b"}, OPENAI[1]], 'holds a NUL character in "m"'),
        ([OPENAI[0]], 'has no answer to a question in "m"'),
        ([OPENAI[1]], 'has no answer to a question in "m"'),
        ([OPENAI[1], OPENAI[0]], 'has no answer to a question in "m"'),
        ([OPENAI[0], OPENAI[0], OPENAI[1]], 'has two user messages in a row in "m"'),
        ([*OPENAI, OPENAI[1]], 'has two assistant messages in a row in "m"'),
        ([*OPENAI, {"role": "system", "content": "x"}], 'has a system message in "m" that is not its first'),
        ([{"role": "x" * 500, "content": "Hi"}], "…"),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(turns: Any, problem: str) -> None:
    with pytest.raises(RowRefused) as refused:
        of(turns)
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 160


def preference(chosen: Any, rejected: Any, **more: Any) -> Conversation:
    row = {"chosen": chosen, "rejected": rejected, **more}
    return make(row, format="preference", **{name: name for name in row})


def test_a_preference_with_its_prompt() -> None:
    found = preference("Good", "Bad", prompt="Hi")
    assert (said(found), found.rejected, found.key) == (["u:Hi", "a:Good"], "Bad", "Hi")


def test_a_preference_whose_prompt_is_in_both_sides() -> None:
    other = [OPENAI[0], {"role": "assistant", "content": "No"}]
    for found in (preference(OPENAI, other), preference(OPENAI, other, prompt=[OPENAI[0]])):
        assert (said(found), found.rejected) == (["u:Hi", "a:Ho"], "No")
    assert said(preference(OPENAI, other, system="Be kind"))[0] == "s:Be kind"


def test_answers_as_messages_after_a_prompt() -> None:
    found = preference([OPENAI[1]], [{"role": "assistant", "content": "No"}], prompt="Hi")
    assert (said(found), found.rejected) == (["u:Hi", "a:Ho"], "No")


@pytest.mark.parametrize(
    ("chosen", "rejected", "more", "problem"),
    [
        ("Good", "Good", {"prompt": "Hi"}, "has the same chosen and rejected answer"),
        (OPENAI, OPENAI, {}, "has the same chosen and rejected answer"),
        ("Good", "", {"prompt": "Hi"}, 'has an empty "rejected"'),
        ("Good", "Bad", {}, "has no prompt"),
        ("Good", "Bad", {"prompt": " "}, 'has an empty "prompt"'),
        (OPENAI, [{"role": "user", "content": "Else"}, OPENAI[1]], {}, "has no prompt"),
        ([*OPENAI, *OPENAI], OPENAI, {}, "not one answer"),
        (3, "Bad", {"prompt": "Hi"}, 'has no text in "chosen" but 3'),
    ],
)
def test_what_is_no_preference_is_refused_in_words(chosen: Any, rejected: Any, more: Any, problem: str) -> None:
    with pytest.raises(RowRefused) as refused:
        preference(chosen, rejected, **more)
    assert problem in str(refused.value)


def test_a_plain_text() -> None:
    found = make({"t": "Once upon a time"}, format="text", text="t")
    assert (found.messages, found.text, found.answer, found.key) == ([], *["Once upon a time"] * 3)


def test_values_tell_whether_a_column_holds_conversations() -> None:
    assert looks_like_messages([OPENAI, None, json.dumps(SHAREGPT)])
    assert not looks_like_messages([])
    assert not looks_like_messages([None, ""])
    assert not looks_like_messages([OPENAI, "text"])
    assert not looks_like_messages([[1, 2]])
    assert not looks_like_messages(["[{broken"])
