"""Counts tokens before a run is accepted, in a short-lived process of its own.

A model's chat template and tokenizer are a stranger's code and data: here they can neither hang the server nor fill
its memory. `python -m workbench.training.precheck` reads a `Question` on standard input; exit status 3 means that
standard output holds a problem.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pyarrow as pa

from workbench.core.environment import scrubbed
from workbench.core.errors import Invalid, Problem, RemoteError, WorkbenchError
from workbench.core.schemas import Schema
from workbench.inference.template import ChatTemplate
from workbench.training.rows import ensure_trainable

CHECKED_ROWS = 2_000  # rows whose tokens are counted before a run is accepted; the worker counts all
CPU_SECONDS = 20
MEMORY_BYTES = 4 * 2**30
TIMEOUT = 60.0  # seconds of wall time, for a busy machine
REFUSED = 3  # exit status


class BaseModelUnusable(Invalid):
    """The base model's template or tokenizer cannot be used."""

    code = "model.base_unusable"


class Question(Schema):
    """Can these rows be trained on?"""

    model: Path
    #: Arrow stream with prompt and completion.
    rows: Path
    max_length: int


def check(question: Question) -> None:
    """Ask in a process of its own; raises the refusal it prints, or `BaseModelUnusable` when it gives no answer."""
    command = [sys.executable, "-m", __name__]
    unusable = f"The tokenizer or chat template of {question.model} cannot be used"
    try:
        asked = subprocess.run(
            command, input=question.model_dump_json().encode(), env=scrubbed({}), capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise BaseModelUnusable(f"{unusable}: rendering its prompts takes too long.") from error
    if asked.returncode == REFUSED:
        raise RemoteError(Problem.model_validate_json(asked.stdout))
    if asked.returncode != 0:
        raise BaseModelUnusable(f"{unusable}: {_last_words(asked)}.")


def first_rows(path: Path, count: int) -> list[tuple[str, str]]:
    """Return up to `count` (prompt, completion) pairs of a materialised split."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        pairs = (pair for batch in stream for pair in _pairs(batch))
        return list(islice(pairs, count))


def _pairs(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    return list(zip(batch.column("prompt").to_pylist(), batch.column("completion").to_pylist(), strict=True))


def _last_words(asked: subprocess.CompletedProcess[bytes]) -> str:
    if asked.returncode < 0:
        return "rendering its prompts takes too much time or memory"
    lines = asked.stderr.decode("utf8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"the check ended with exit status {asked.returncode}"


def main() -> int:
    """Answer the question on standard input."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    question = Question.model_validate_json(sys.stdin.buffer.read())
    try:
        template = ChatTemplate.from_folder(question.model)
        ensure_trainable(template, first_rows(question.rows, CHECKED_ROWS), question.max_length)
    except WorkbenchError as error:
        sys.stdout.write(error.problem().model_dump_json())
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
