"""One model answers and scores rows in batches; the answers do not depend on the batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.core.errors import Invalid
from workbench.evaluation.schemas import Sample
from workbench.evaluation.scoring import is_exact_match
from workbench.inference.generate import generate
from workbench.inference.load import LanguageModel
from workbench.inference.score import score


class RowTooLong(Invalid):
    """A row does not fit into the model's context."""

    code = "evaluation.row_too_long"


@dataclass(frozen=True)
class Question:
    """A row to answer."""

    row_id: int
    #: The conversation up to the answer, as people read it.
    prompt: str
    expected: str
    #: The whole conversation; the expected answer is its last message.
    messages: list[dict[str, str]]


def answer(
    model: LanguageModel, questions: Sequence[Question], batch_size: int, max_new_tokens: int
) -> Iterator[list[Sample]]:
    """Yield the samples of one batch after the other; raises RowTooLong."""
    for start in range(0, len(questions), batch_size):
        yield _answer_batch(model, questions[start : start + batch_size], max_new_tokens)


def _answer_batch(model: LanguageModel, questions: Sequence[Question], max_new_tokens: int) -> list[Sample]:
    examples = [model.template.conversation(question.messages).last_answer() for question in questions]
    prompts = [example.input_ids[: example.completion_mask.index(1)] for example in examples]
    for question, example, prompt in zip(questions, examples, prompts, strict=True):
        _ensure_fits(model, question.row_id, max(len(example.input_ids), len(prompt) + max_new_tokens))
    answers = [model.template.decode(ids) for ids in generate(model, prompts, max_new_tokens)]
    return [
        Sample(
            row_id=question.row_id,
            prompt=question.prompt,
            expected=question.expected,
            answer=text,
            exact_match=is_exact_match(text, question.expected),
            nll=scored.nll,
            tokens=scored.tokens,
            prompt_tokens=prompt,
        )
        for question, text, scored, prompt in zip(questions, answers, score(model, examples), prompts, strict=True)
    ]


def _ensure_fits(model: LanguageModel, row_id: int, length: int) -> None:
    context = getattr(model.network.config, "max_position_embeddings", None)
    if context is not None and length > context:
        raise RowTooLong(
            f"Row {row_id} needs {length} tokens with its answer, but the model takes {context};"
            " lower max_new_tokens or leave the row out."
        )
