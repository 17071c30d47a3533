"""Deploy model versions, and find the engine that answers for a name. Never commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from workbench.core.context import Context
from workbench.core.errors import NotFound, Unavailable
from workbench.core.lineage import link
from workbench.core.schemas import Page, Ref
from workbench.jobs import schemas as jobs_schemas
from workbench.jobs import service as jobs
from workbench.jobs.files import AttemptFolder, read_json
from workbench.jobs.states import ENDED
from workbench.jobs.tables import Job
from workbench.registry import service as registry
from workbench.registry.schemas import ModelVersion
from workbench.serving import schemas
from workbench.serving.engines import Engine
from workbench.serving.files import ServeFolder

KIND = "serve"
#: The phase of a job that has no engine.
PHASES: dict[str, schemas.Phase] = {
    "queued": "waiting",
    "lost": "waiting",
    "stopping": "stopping",
    "succeeded": "stopped",
    "cancelled": "stopped",
    "failed": "failed",
}


class DeploymentNotFound(NotFound):
    """There is no such deployment."""

    code = "deployment.not_found"


class NotDeployed(NotFound):
    """No deployment answers for this model."""

    code = "deployment.model_not_served"


class NotReady(Unavailable):
    """The deployment is not ready yet."""

    code = "deployment.not_ready"


def deploy(context: Context, model_id: str, wanted: schemas.DeploymentCreate) -> schemas.Deployment:
    """Serve a version, or a model's newest version; one that is served in this very way already is returned.

    It takes no CPU of the queue: it is idle most of the time, and must not keep runs waiting.
    """
    version = _version(context, model_id)
    spec = schemas.ServeSpec(
        version_id=version.id,
        model_name=model_name(version),
        path=version.path,
        weights_sha256=version.weights_sha256,
        deploy=wanted,
    ).model_dump(mode="json")
    for known in _live(context):
        if known.spec == spec and not known.cancel_requested:
            return record(context, jobs.show(context.session, known.id))
    job = jobs.submit(context, KIND, f"Serve {spec['model_name']}", spec, cpus=0)
    link(context.session, Ref(kind="model_version", id=version.id), Ref(kind="job", id=job.id), "served")
    return record(context, job)


def publish(context: Context, job: jobs_schemas.Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Take how the deployment ended as the job's outcome."""
    return result


def show(context: Context, deployment_id: str) -> schemas.Deployment:
    """Return a deployment."""
    return record(context, _job(context, deployment_id))


def listing(context: Context, query: schemas.DeploymentsQuery) -> Page[schemas.Deployment]:
    """Return deployments, newest first; ids are time-ordered, so the cursor is the last id."""
    statement = select(Job).where(Job.kind == KIND).order_by(Job.id.desc()).limit(query.limit + 1)
    if query.live:
        statement = statement.where(Job.state.not_in(ENDED))
    if query.cursor is not None:
        statement = statement.where(Job.id < query.cursor)
    rows = context.session.scalars(statement).all()
    items = [record(context, job) for job in jobs.records(context.session, rows[: query.limit])]
    return Page(items=items, next_cursor=items[-1].id if len(rows) > query.limit else None)


def stop(context: Context, deployment_id: str) -> schemas.Deployment:
    """Stop a deployment; one that has ended already stays as it is."""
    job = _job(context, deployment_id)
    return record(context, jobs.cancel(context, job.id) if job.state not in ENDED else job)


def log(context: Context, deployment_id: str, query: jobs_schemas.LogQuery) -> jobs_schemas.LogPage:
    """Return a piece of the newest attempt's log."""
    return jobs.log(context, _job(context, deployment_id).id, query)


def served(context: Context, model: str) -> schemas.Deployment:
    """Return a live deployment for its id, a version's id, `name`, `name@3` or `name@alias`: one's own first.

    Raises `NotDeployed`.
    """
    live = [record(context, jobs.record(job)) for job in _live(context)]
    for found in live:
        if model in (found.id, found.version_id, found.model, found.model.rpartition("@")[0]):
            return found
    name, _, alias = model.rpartition("@")
    for found in live:
        if name == found.model.rpartition("@")[0] and alias in registry.aliases(context.session, found.version_id):
            return found
    raise NotDeployed(f"No deployment answers for the model “{model[:128]}”; deploy it, or ask for one that is served.")


def engine(context: Context, deployment: schemas.Deployment) -> tuple[Engine, ServeFolder]:
    """Return the engine of a deployment; raises `NotReady` while none is up."""
    job = jobs.find(context.session, deployment.id)
    folder = _folder(context.settings.home, job.id, job.attempt_no)
    found = Engine.read(folder.engine)
    if found is None or deployment.phase in schemas.ENDED or deployment.phase == "stopping":
        detail = f" {deployment.detail}" if deployment.detail else ""
        raise NotReady(f"The deployment of {deployment.model} is {deployment.phase}.{detail}")
    return found, folder


def record(context: Context, job: jobs_schemas.Job) -> schemas.Deployment:
    """Return a serve job as the contract shows it: the queue's word with the worker's own."""
    told = read_json(_folder(context.settings.home, job.id, job.attempt_no).progress)
    progress = schemas.Progress.model_validate(told or {"phase": "starting"})
    spec = schemas.ServeSpec.model_validate(job.spec)
    phase = PHASES.get(job.state, progress.phase)
    if phase not in schemas.ENDED and job.cancel_requested:
        phase = "stopping"
    detail = job.error or job.wait_reason or (progress.detail if phase == progress.phase else None)
    given = progress.model_dump() | {"phase": phase, "detail": detail}
    return schemas.Deployment.model_validate(
        given
        | {
            "id": job.id,
            "version_id": spec.version_id,
            "model": spec.model_name,
            "spec": spec.deploy,
            "owner_name": job.owner_name,
            "job_state": job.state,
            "error": job.error,
            "error_code": job.error_code,
            "created_at": job.created_at,
            "finished_at": job.finished_at,
        }
    )


def model_name(version: ModelVersion) -> str:
    """Return how a version is called in a chat, such as `support@3`."""
    return f"{version.model_name}@{version.number}"


def model_folder(context: Context, deployment_id: str) -> Path:
    """Return the folder of the files that a deployment serves; its model need not be shared along with it."""
    spec = schemas.ServeSpec.model_validate(jobs.find(context.session, deployment_id).spec)
    return context.settings.home / spec.path


def _live(context: Context) -> list[Job]:
    statement = select(Job).where(Job.kind == KIND, Job.state.not_in(ENDED))
    statement = statement.order_by((Job.owner_id == context.user.id).desc(), Job.id.desc())
    return list(context.session.scalars(statement))


def _job(context: Context, deployment_id: str) -> jobs_schemas.Job:
    row = context.session.get(Job, deployment_id)
    if row is None or row.kind != KIND:
        raise DeploymentNotFound(f"There is no deployment {deployment_id}.")
    return jobs.show(context.session, row.id)


def _version(context: Context, model_id: str) -> ModelVersion:
    if model_id.startswith("mdl_"):
        return registry.show(context, model_id).versions[0]
    return registry.version(context.session, model_id)


def _folder(home: Path, job_id: str, attempt_no: int) -> ServeFolder:
    return ServeFolder(AttemptFolder(home, job_id, attempt_no).path)
