from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from workbench.accounts import service as accounts
from workbench.core.context import Context
from workbench.core.schemas import Ref
from workbench.jobs import notebooks, service
from workbench.jobs.files import AttemptFolder
from workbench.jobs.notebooks import NoNotebook
from workbench.jobs.runner import assign, attempt_id
from workbench.jobs.schemas import Job, NotebookCreate
from workbench.jobs.signature import BadParameter
from workbench.jobs.states import move


def notebook(source: str = "steps: int = 3") -> dict[str, Any]:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source, "outputs": []}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell | {"execution_count": None}]}


def submit(context: Context, **parameters: Any) -> Job:
    return notebooks.submit(context, NotebookCreate(notebook=notebook(), parameters=parameters, title="finetune"))


def started_by(context: Context, job: Job) -> Context:
    """Return the context of a call with the token of a job's attempt."""
    assign(context.session, service.find(context.session, job.id), "here")
    token = accounts.issue(context.session, context.user, "program", "job", attempt_id(job.id, 1))
    user = accounts.verify(context.session, token)
    assert user is not None
    return replace(context, user=user)


def test_a_notebook_waits_for_no_cpu_and_is_kept_by_its_hash(context: Context) -> None:
    first, second = submit(context, steps=5), submit(context)
    assert (first.kind, first.title, first.cpus, first.gpus) == ("notebook", "finetune", 0, 0)
    assert first.spec["parameters"] == {"steps": 5}
    assert first.spec["notebook_path"] == second.spec["notebook_path"]
    stored = json.loads((context.settings.home / first.spec["notebook_path"]).read_bytes())
    assert (stored["nbformat_minor"], stored["cells"][0]["id"]) == (5, "cell-0")
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert len([*(context.settings.home / "notebooks-submitted").iterdir()]) == 1


def test_parameters_are_checked_again(context: Context) -> None:
    with pytest.raises(BadParameter):
        submit(context, steps="5")
    with pytest.raises(BadParameter):
        submit(context, epochs=1)


def test_a_job_that_a_notebook_started_leads_to_it(context: Context) -> None:
    job = submit(context)
    with pytest.raises(NoNotebook, match="has not begun"):
        notebooks.executed(context, job.id)
    run = service.submit(started_by(context, job), "train", "Tune", {})
    folder = AttemptFolder(context.settings.home, job.id, 1).path
    folder.mkdir(parents=True)
    (folder / notebooks.EXECUTED).write_text('{"cells": "as far as it came"}')
    assert notebooks.executed(context, run.id) == notebooks.executed(context, job.id)
    assert notebooks.executed(context, run.id) == {"cells": "as far as it came"}
    kept = context.settings.home / "notebooks-executed" / "att_1.ipynb"
    kept.parent.mkdir()
    kept.write_text('{"cells": "all"}')
    path = str(kept.relative_to(context.settings.home))
    result = {"notebook_path": path, "notebook_sha256": "00", "result": {"a": 1}, "seconds": 1.0}
    outcome = notebooks.publish(context, job, "att_1", result)
    row = service.find(context.session, job.id)
    assert move(context.session, row, "running")
    assert move(context.session, row, "succeeded", outcome=outcome)
    assert notebooks.executed(context, run.id) == {"cells": "all"}


def test_a_job_that_no_notebook_started_says_so(context: Context) -> None:
    run = service.submit(context, "train", "Tune", {})
    with pytest.raises(NoNotebook, match="was not started by a notebook job"):
        notebooks.executed(context, run.id)
    child = service.submit(started_by(context, run), "evaluate", "Score", {})
    with pytest.raises(NoNotebook, match="was not started by a notebook job"):
        notebooks.executed(context, child.id)


def test_a_kernels_jobs_are_nobodys_children(context: Context) -> None:
    kernel = replace(context, user=replace(context.user, holder=Ref(kind="kernel", id="k1")))
    with pytest.raises(NoNotebook):
        notebooks.executed(context, submit_train(kernel).id)


def submit_train(context: Context) -> Job:
    return service.submit(context, "train", "Tune", {})
