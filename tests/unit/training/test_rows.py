import pytest

from workbench import testing
from workbench.datasets.conversation import Conversation
from workbench.inference.template import ChatTemplate
from workbench.training.rows import NoRows, NoTrainedToken, Row, ensure_trainable, examples


def row(prompt: str, completion: str, row_id: int = 0) -> Row:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    return row_id, Conversation(turns)


REPEAT = "Repeat: " + "word " * 40
SHORT = row("Hi", "Ho", 1)
LONG_ANSWER = row("Count", "one two three four five six seven eight nine ten", 2)
LONG_PROMPT = row(REPEAT, "no", 3)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    return ChatTemplate.from_folder(testing.make_model(tmp_path_factory.mktemp("model"), hidden_size=32))


def test_rows_are_used_cut_or_left_out_and_counted(template: ChatTemplate) -> None:
    found = examples(template, [SHORT, LONG_ANSWER, LONG_PROMPT], max_length=24)
    assert (found.used, found.truncated, found.dropped) == (2, 1, 1)
    assert [len(example.input_ids) <= 24 for example in found.examples] == [True, True]
    assert all(example.trainable for example in found.examples)
    assert found.row_ids == [1, 2]


def test_a_row_needs_room_for_one_trained_token(template: ChatTemplate) -> None:
    prompt = len(template.prompt_ids([{"role": "user", "content": "Hi"}]))
    assert examples(template, [SHORT], prompt).used == 0
    one_token = examples(template, [SHORT], prompt + 1)
    assert sum(one_token.examples[0].completion_mask) == 1


def test_an_empty_completion_still_trains_the_end(template: ChatTemplate) -> None:
    (example,) = examples(template, [row("Hi", "")], 64).examples
    assert example.input_ids[-1] == template.eos_id
    assert sum(example.completion_mask) == 1


def test_rows_that_leave_nothing_to_train_are_refused_with_the_numbers(template: ChatTemplate) -> None:
    shortest = len(template.prompt_ids([{"role": "user", "content": REPEAT}]))
    with pytest.raises(NoTrainedToken) as caught:
        ensure_trainable(template, [LONG_PROMPT, row(REPEAT * 2, "x")], max_length=16)
    assert caught.value.code == "rows.no_trained_token"
    assert f"max_length 16: the shortest prompt alone has {shortest} tokens" in caught.value.detail


def test_no_rows_are_refused(template: ChatTemplate) -> None:
    with pytest.raises(NoRows, match="choose a split that has rows"):
        ensure_trainable(template, [], max_length=16)


def test_one_good_row_is_enough(template: ChatTemplate) -> None:
    assert ensure_trainable(template, [LONG_PROMPT, SHORT], max_length=24).used == 1


def test_a_plain_text_is_trained_whole_and_without_a_template(template: ChatTemplate) -> None:
    (example,) = examples(template, [(0, Conversation([], text="Once upon a time"))], 64).examples
    assert example.input_ids == [*template.encode("Once upon a time"), template.eos_id]
    assert set(example.completion_mask) == {1}


def test_answers_that_are_served_otherwise_are_counted(template: ChatTemplate) -> None:
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]
    assert examples(template, [(0, Conversation(turns))], 64).untrained_turns == 0
