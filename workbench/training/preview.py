"""Shows rows as the model will see them: `python -m workbench.training.preview` answers a `Question`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

from workbench.core.schemas import Schema
from workbench.datasets.conversation import Conversation
from workbench.datasets.materialise import read
from workbench.inference.template import ChatTemplate
from workbench.training import bounded
from workbench.training.rows import tokenise
from workbench.training.schemas import Preview, PreviewRow, Span


class Question(Schema):
    """Which rows to render by which model's template."""

    model: Path
    #: Arrow stream of conversations, as `materialise` writes it.
    rows: Path
    offset: int
    limit: int
    max_length: int


def preview(question: Question, total: int) -> Preview:
    """Render in a process of its own; raises the refusal, or `BaseModelUnusable` when it gives no answer."""
    answer = bounded.ask(__name__, question, question.model)
    return Preview.model_validate_json(answer).model_copy(update={"total": total})


def render(template: ChatTemplate, row_id: int, conversation: Conversation, max_length: int) -> PreviewRow:
    """Return a row's tokens as text, in runs of what is trained and what is not."""
    whole = tokenise(template, conversation)
    example = whole.cut(max_length)
    return PreviewRow(
        row_id=row_id,
        spans=list(_spans(template, example.input_ids, example.completion_mask)),
        tokens=len(example.input_ids),
        trained_tokens=sum(example.completion_mask),
        cut_tokens=len(whole.input_ids) - len(example.input_ids),
        untrained_turns=example.untrained_turns,
    )


def _spans(template: ChatTemplate, ids: list[int], mask: list[int]) -> Iterator[Span]:
    for trained, run in groupby(zip(ids, mask, strict=True), lambda pair: pair[1]):
        text = template.tokenizer.decode([token for token, _ in run], skip_special_tokens=False)
        yield Span(text=text, trained=bool(trained))


def _answer(asked: bytes) -> bytes:
    question = Question.model_validate_json(asked)
    template = ChatTemplate.from_folder(question.model)
    rows = islice(read(question.rows), question.offset, question.offset + question.limit)
    items = [render(template, row_id, conversation, question.max_length) for row_id, conversation in rows]
    return Preview(items=items, total=0, template=template.source).model_dump_json().encode()


if __name__ == "__main__":
    sys.exit(bounded.answer(_answer))
