import pytest

from workbench import testing
from workbench.evaluation.answering import Question, RowTooLong, answer
from workbench.inference.load import LanguageModel, load


def question(row_id: int, prompt: str, expected: str) -> Question:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": expected}]
    return Question(row_id, prompt, expected, turns)


QUESTIONS = [
    question(row, sample["prompt"], sample["completion"]) for row, sample in enumerate(testing.demo_rows()[::40])
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(testing.make_model(tmp_path_factory.mktemp("model"), hidden_size=32))


def test_the_batch_size_does_not_change_the_answers(model: LanguageModel) -> None:
    alone = [sample for batch in answer(model, QUESTIONS, 1, 8) for sample in batch]
    together = [sample for batch in answer(model, QUESTIONS, 4, 8) for sample in batch]
    assert [sample.answer for sample in together] == [sample.answer for sample in alone]
    assert [sample.nll for sample in together] == pytest.approx([sample.nll for sample in alone], rel=1e-4)
    assert [sample.row_id for sample in together] == list(range(len(QUESTIONS)))


def test_a_sample_keeps_the_prompt_as_the_model_saw_it(model: LanguageModel) -> None:
    (sample,) = next(answer(model, QUESTIONS[:1], 1, 8))
    turns = [{"role": "user", "content": QUESTIONS[0].prompt}]
    assert sample.prompt_tokens == model.template.prompt_ids(turns)
    assert (sample.prompt, sample.expected) == (QUESTIONS[0].prompt, QUESTIONS[0].expected)
    assert sample.tokens > 1


def test_a_row_that_does_not_fit_is_named(model: LanguageModel) -> None:
    with pytest.raises(RowTooLong, match=r"^Row 7 needs \d+ tokens with its answer, but the model takes 512"):
        list(answer(model, [question(7, "word " * 600, "yes")], 1, 8))


def test_only_the_last_answer_of_a_conversation_is_asked_and_scored(model: LanguageModel) -> None:
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)]
    (sample,) = next(answer(model, [Question(1, "user: a …", "d", turns)], 1, 8))
    assert sample.prompt_tokens == model.template.prompt_ids(turns[:3])
    assert sample.tokens == 2
