"""Accepts notebooks as jobs and keeps what they became. Never commits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat
from nbformat.validator import NotebookValidationError
from sqlalchemy import select

from workbench.core.context import Context
from workbench.core.errors import Invalid, NotFound, TooLarge
from workbench.core.ids import new_id
from workbench.core.tables import LineageEdge
from workbench.jobs import schemas, service, signature
from workbench.jobs.files import AttemptFolder
from workbench.jobs.tables import Job

KIND = "notebook"
KERNEL = "python3"
MAX_BYTES = 10 * 2**20
EXECUTED = "executed.ipynb"  # in the attempt's folder, saved after every cell


class BadNotebook(Invalid):
    """This is no notebook that can be run."""

    code = "notebook.invalid"


class NotebookTooLarge(TooLarge):
    """The notebook is too large."""

    code = "notebook.too_large"


class NoNotebook(NotFound):
    """There is no executed notebook."""

    code = "notebook.not_found"


def submit(context: Context, wanted: schemas.NotebookCreate) -> schemas.Job:
    """Queue a notebook. It takes no CPU: it waits for the runs that it starts, and must not keep them waiting."""
    notebook = normalised(wanted.notebook)
    values = signature.checked(signature.parameters(json.loads(notebook)), wanted.parameters)
    spec = schemas.NotebookSpec(notebook_path=_keep(context.settings.home, notebook), parameters=values)
    return service.submit(context, KIND, wanted.title, spec.model_dump(mode="json"), cpus=0)


def publish(context: Context, job: schemas.Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Take the executed notebook, its hash and the result that it showed as the job's outcome."""
    return schemas.NotebookOutcome.model_validate(result).model_dump(mode="json")


def executed(context: Context, job_id: str) -> dict[str, Any]:
    """Return the executed notebook of a notebook job, or of the one that started this job; as far as it came."""
    job = _notebook_job(context, service.find(context.session, job_id))
    home = context.settings.home
    path = AttemptFolder(home, job.id, job.attempt_no).path / EXECUTED
    if job.outcome is not None:
        path = home / str(job.outcome["notebook_path"])
    if not path.is_file():
        raise NoNotebook(f"The notebook of job {job.id} has not begun, so there is nothing to show yet.")
    return dict(json.loads(path.read_bytes()))


def normalised(content: dict[str, Any]) -> bytes:
    """Return a valid notebook of format 4 for our kernel as it is stored; refuse any other in one sentence."""
    if content.get("nbformat") != 4 or not isinstance(content.get("nbformat_minor"), int):
        raise BadNotebook("This is no notebook of format 4; open it in JupyterLab, save it and send it again.")
    try:
        notebook = nbformat.from_dict(content | {"nbformat_minor": max(5, content["nbformat_minor"])})
        for number, cell in enumerate(notebook["cells"]):
            cell.setdefault("id", f"cell-{number}")
        nbformat.validate(notebook)
        kernel = notebook["metadata"].setdefault("kernelspec", {"name": KERNEL, "display_name": "Python 3"})
        stored = json.dumps(notebook, ensure_ascii=False, indent=1).encode()
    except (NotebookValidationError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadNotebook("The notebook does not have the form that notebooks have; save it in JupyterLab.") from error
    if len(stored) > MAX_BYTES:
        raise NotebookTooLarge(f"The notebook is larger than {MAX_BYTES >> 20} MB; clear its outputs first.")
    if kernel["name"] != KERNEL:
        raise BadNotebook(f"The notebook asks for another kernel than {KERNEL}; jobs run Python notebooks only.")
    return stored


def _keep(home: Path, notebook: bytes) -> str:
    """Store a submitted notebook under its hash, and return its path relative to the home."""
    path = home / "notebooks-submitted" / f"{hashlib.sha256(notebook).hexdigest()}.ipynb"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        partial = path.with_name(f"{new_id('notebook')}.partial")
        partial.write_bytes(notebook)
        partial.replace(path)
    return str(path.relative_to(home))


def _notebook_job(context: Context, job: Job) -> Job:
    """Return the job itself, or the notebook job that started it."""
    if job.kind == KIND:
        return job
    started = (LineageEdge.target_kind == "job") & (LineageEdge.target_id == job.id)
    here = (LineageEdge.source_kind == "job") & (LineageEdge.source_id == Job.id)
    query = (
        select(Job).join(LineageEdge, here).where(started, LineageEdge.relation == service.STARTED, Job.kind == KIND)
    )
    found = context.session.scalar(query)
    if found is None:
        raise NoNotebook(f"Job {job.id} was not started by a notebook job, so no executed notebook belongs to it.")
    return found
