"""Counts tokens before a run is accepted: `python -m workbench.training.precheck` answers a `Question`."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from workbench.core.schemas import Schema
from workbench.datasets.materialise import read
from workbench.inference.template import ChatTemplate
from workbench.training import bounded
from workbench.training.rows import ensure_trainable

CHECKED_ROWS = 2_000  # rows whose tokens are counted before a run is accepted; the worker counts all


class Question(Schema):
    """Can these rows be trained on?"""

    model: Path
    #: Arrow stream of conversations, as `materialise` writes it.
    rows: Path
    max_length: int


def check(question: Question) -> None:
    """Ask in a process of its own; raises the refusal, or `BaseModelUnusable` when it gives no answer."""
    bounded.ask(__name__, question, question.model)


def _answer(asked: bytes) -> bytes:
    question = Question.model_validate_json(asked)
    template = ChatTemplate.from_folder(question.model)
    ensure_trainable(template, list(islice(read(question.rows), CHECKED_ROWS)), question.max_length)
    return b""


if __name__ == "__main__":
    sys.exit(bounded.answer(_answer))
