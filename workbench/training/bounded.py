"""Runs what renders a stranger's chat template in a short-lived process: it can neither hang the server nor fill it up.

A module that answers questions is run as `python -m MODULE`: it reads its question on standard input and writes its
answer on standard output; exit status 3 means that the answer is a problem.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from workbench.core.environment import scrubbed
from workbench.core.errors import Invalid, Problem, RemoteError, WorkbenchError
from workbench.core.schemas import Schema

CPU_SECONDS = 20
MEMORY_BYTES = 4 * 2**30
TIMEOUT = 60.0  # seconds of wall time, for a busy machine
REFUSED = 3  # exit status


class BaseModelUnusable(Invalid):
    """The base model's template or tokenizer cannot be used."""

    code = "model.base_unusable"


def ask(module: str, question: Schema, model: Path) -> bytes:
    """Return a module's answer about a model; raises the problem it prints, or `BaseModelUnusable` when it fails."""
    command = [sys.executable, "-m", module]
    unusable = f"The tokenizer or chat template of {model} cannot be used"
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
    return asked.stdout


def answer(work: Callable[[bytes], bytes]) -> int:
    """Answer the question on standard input, within the limits, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    question = sys.stdin.buffer.read()
    try:
        sys.stdout.buffer.write(work(question))
    except WorkbenchError as error:
        sys.stdout.write(error.problem().model_dump_json())
        return REFUSED
    return 0


def _last_words(asked: subprocess.CompletedProcess[bytes]) -> str:
    if asked.returncode < 0:
        return "rendering its prompts takes too much time or memory"
    lines = asked.stderr.decode("utf8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"the check ended with exit status {asked.returncode}"
