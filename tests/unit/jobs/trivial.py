"""Kinds of jobs for tests, which need neither data nor a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from workbench.core.context import Context
from workbench.core.lineage import Ref, link
from workbench.jobs.runner import Kind
from workbench.jobs.schemas import Job

WORKER = Path(__file__).with_name("trivial_worker.py")


def argv(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-I", "-S", str(WORKER), str(folder)]


def publish(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    link(context.session, Ref(kind="job", id=job.id), Ref(kind="answer", id=attempt_id), "made")
    return {"answer": result["answer"]}


def fail_to_publish(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    publish(context, job, attempt_id, result)
    context.session.flush()
    raise ValueError("the answer is not a model")


def no_program(spec: dict[str, Any], folder: Path) -> list[str]:
    return [str(folder / "no-such-program")]


KINDS = {
    "trivial": Kind(argv=argv, publish=publish),
    "unpublishable": Kind(argv=argv, publish=fail_to_publish),
    "missing": Kind(argv=no_program, publish=publish),
}
