"""Submit, list, cancel and resume jobs; read their metrics and logs. Never commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

import workbench
from workbench.accounts.tables import AuditEntry
from workbench.core import events
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import Conflict, NotFound
from workbench.core.ids import new_id
from workbench.core.lineage import describes, link
from workbench.core.ownership import require_change, share
from workbench.core.schemas import PRIVATE, Health, Page, Ref, Sharing
from workbench.jobs import schemas
from workbench.jobs.files import AttemptFolder
from workbench.jobs.states import ENDED, move
from workbench.jobs.tables import EVERYONES, Attempt, Host, Job, Metric

HEARTBEAT_INTERVAL = 2.0  # seconds between two signs of life of an agent
HOST_TIMEOUT = timedelta(seconds=15)  # silence after which a host counts as gone
STARTED = "started"  # the lineage relation from a job to the jobs that its token submitted
QUEUE_LOCK = 0x71756575  # advisory lock key: "queu"
NO_AGENT = "No agent is running, so nothing can start: run `workbench agent`."
BEHIND = "It waits for the jobs before it in the queue."


class JobNotFound(NotFound):
    """There is no such job."""

    code = "job.not_found"


class JobEnded(Conflict):
    """The job has ended already."""

    code = "job.ended"


class JobNotResumable(Conflict):
    """Only a failed or cancelled job can be resumed."""

    code = "job.not_resumable"


def submit(
    context: Context, kind: str, title: str, spec: dict[str, Any], *, cpus: int = 1, gpus: int = 0
) -> schemas.Job:
    """Put a job at the queue's end."""
    job = Job(
        id=new_id("job"),
        kind=kind,
        title=title[:200],
        owner_id=context.user.id,
        owner_name=context.user.name,
        audience=PRIVATE,
        spec=spec,
        cpus=cpus,
        gpus=gpus,
        state="queued",
        rank=last_rank(context.session),
        attempt_no=0,
        cancel_requested=False,
        created_at=utcnow(),
    )
    context.session.add(job)
    _link_to_its_starter(context, job)
    events.publish(context.session, f"job:{job.id}", "state", {"state": "queued", "attempt_no": 0, "error": None})
    return record(job)


def hold_queue(session: Session) -> None:
    """Keep everyone else from giving ranks and from planning until the transaction ends; jobs still come and go.

    Whoever also locks rows of jobs does so afterwards.
    """
    if session.get_bind().dialect.name == "postgresql":  # on SQLite there is one writer at a time
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": QUEUE_LOCK})


def last_rank(session: Session) -> int:
    """Return the rank of a job that goes to the queue's end; nobody else is given one meanwhile."""
    hold_queue(session)
    return (session.scalar(select(func.max(EVERYONES.rank))) or 0) + 1


def is_due(session: Session, kind: str, interval: timedelta) -> bool:
    """Tell whether a kind that is queued by itself shall be queued now.

    It is when the last one was queued longer ago than the interval; before the first one, when the first entry of the
    audit log is older. Never while one waits or runs.
    """
    newest = session.scalars(select(Job).where(Job.kind == kind).order_by(Job.id.desc()).limit(1)).first()
    if newest is not None:
        return newest.state in ENDED and utcnow() - newest.created_at >= interval
    begun = session.scalar(select(func.min(AuditEntry.at)))
    return begun is not None and utcnow() - begun >= interval


def show(session: Session, job_id: str) -> schemas.Job:
    """Return a job; one that waits says why."""
    return records(session, [find(session, job_id)])[0]


def listing(context: Context, query: schemas.JobsQuery) -> Page[schemas.Job]:
    """Return jobs, newest first; ids are time-ordered, so the cursor is the last id."""
    statement = select(Job).order_by(Job.id.desc()).limit(query.limit + 1)
    if query.kind is not None:
        statement = statement.where(Job.kind == query.kind)
    if query.state is not None:
        statement = statement.where(Job.state == query.state)
    if query.cursor is not None:
        statement = statement.where(Job.id < query.cursor)
    rows = context.session.scalars(statement).all()
    more = len(rows) > query.limit
    items = records(context.session, rows[: query.limit])
    return Page(items=items, next_cursor=items[-1].id if more else None)


def cancel(context: Context, job_id: str) -> schemas.Job:
    """Cancel a job: at once while it waits, else by a wish that its agent carries out."""
    job = _locked(context.session, job_id)
    require_change(context, job, f"The job {job.id}")
    if job.state in ENDED:
        raise JobEnded(f"Job {job.id} has already {job.state}; there is nothing to cancel.")
    if job.state == "queued" and move(context.session, job, "cancelled", finished_at=utcnow(), wait_reason=None):
        return record(job)
    job.cancel_requested = True
    context.session.flush()
    events.publish(context.session, f"job:{job.id}", "cancel", {})
    return record(job)


def resume(context: Context, job_id: str) -> schemas.Job:
    """Queue a failed or cancelled job again, last in line; it continues from its newest complete checkpoint."""
    rank = last_rank(context.session)  # an early one could be kept for another job
    job = _locked(context.session, job_id)
    require_change(context, job, f"The job {job.id}")
    if job.state not in ("failed", "cancelled"):
        raise JobNotResumable(f"Job {job.id} is {job.state}; only a failed or cancelled job can be resumed.")
    cleared = dict.fromkeys(("error", "error_code", "finished_at", "wait_reason"))
    if not move(context.session, job, "queued", cancel_requested=False, rank=rank, **cleared):
        raise JobNotResumable(f"Job {job.id} was resumed by someone else a moment ago.")
    return record(job)


def change_audience(context: Context, job_id: str, wanted: Sharing) -> schemas.Job:
    """Let nobody else, a team or everyone see a job, its log, metrics and evaluation."""
    job = find(context.session, job_id)
    share(context, job, wanted.audience, f"The job {job.id}")
    context.session.flush()
    return record(job)


def metrics(session: Session, job_id: str, after: int, limit: int | None = 10_000) -> list[schemas.MetricMessage]:
    """Return the stored lines that follow `after` and still count, oldest first."""
    find(session, job_id)
    statement = select(Metric).where(Metric.job_id == job_id, Metric.seq > after).order_by(Metric.seq).limit(limit)
    resumes = {attempt.no: attempt.resumed_from_step for attempt in attempts(session, job_id)}
    return [_metric(row) for row in session.scalars(statement) if counts(row.attempt_no, row.step, resumes)]


def counts(attempt_no: int, step: int, resumes: dict[int, int | None]) -> bool:
    """Tell whether a line still counts: no later attempt went back behind its step."""
    later = (resumed for no, resumed in resumes.items() if no > attempt_no and resumed is not None)
    return all(step <= resumed for resumed in later)


def log(context: Context, job_id: str, query: schemas.LogQuery) -> schemas.LogPage:
    """Return a piece of the newest attempt's log."""
    job = find(context.session, job_id)
    path = AttemptFolder(context.settings.home, job.id, job.attempt_no).log
    return read_log(path, job.attempt_no, query)


def read_log(path: Path, attempt_no: int, query: schemas.LogQuery) -> schemas.LogPage:
    """Read a piece of a log file; a log that was not begun is empty."""
    size = path.stat().st_size if path.exists() else 0
    offset = max(0, size + query.offset) if query.offset < 0 else min(query.offset, size)
    content = b""
    if size > offset:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(query.limit)
    text = content.decode("utf8", errors="replace")
    return schemas.LogPage(
        attempt_no=attempt_no, offset=offset, next_offset=offset + len(content), size_bytes=size, text=text
    )


def attempts(session: Session, job_id: str) -> Sequence[Attempt]:
    """Return a job's attempts in order."""
    return session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.no)).all()


def live_hosts(session: Session) -> Sequence[Host]:
    """Return the hosts whose agents were heard of lately."""
    return session.scalars(select(Host).where(Host.heartbeat_at > utcnow() - HOST_TIMEOUT).order_by(Host.id)).all()


def agent_state(session: Session) -> Literal["running", "absent", "unresponsive"]:
    """Tell whether an agent keeps the queue moving."""
    if live_hosts(session):
        return "running"
    return "absent" if session.scalar(select(Host.id).limit(1)) is None else "unresponsive"


def health(context: Context) -> Health:
    """Tell how the server, its database and its agent are."""
    dialect: Any = context.session.get_bind().dialect.name
    agent = agent_state(context.session)
    return Health(version=workbench.__version__, database=dialect, home=str(context.settings.home), agent=agent)


def find(session: Session, job_id: str) -> Job:
    """Return the row of a job or raise `JobNotFound`."""
    job = session.get(Job, job_id)
    if job is None:
        raise JobNotFound(f"There is no job {job_id}.")
    return job


def _locked(session: Session, job_id: str) -> Job:
    """Return the row of a job that nobody else moves before this transaction has ended."""
    find(session, job_id)
    return session.get_one(Job, job_id, with_for_update={"key_share": True})  # what refers to it goes on


@describes("job")
def describe(session: Session, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name jobs for a lineage."""
    rows = session.scalars(select(Job).where(Job.id.in_(list(ids))))
    return {row.id: (row.title, row.state) for row in rows}


def record(job: Job) -> schemas.Job:
    """Return a job as the contract shows it."""
    return schemas.Job.model_validate({name: getattr(job, name) for name in schemas.Job.model_fields})


def records(session: Session, jobs: Sequence[Job]) -> list[schemas.Job]:
    """Return jobs as the contract shows them; those that wait say why.

    The agent writes a reason for the first in line and for what fits no host; the others wait for those before them.
    """
    if all(job.state != "queued" for job in jobs):
        return [record(job) for job in jobs]
    queued = EVERYONES.state == "queued"
    in_order = select(EVERYONES.id).where(queued).order_by(EVERYONES.rank, EVERYONES.id)
    first, alone = session.scalar(in_order.limit(1)), not live_hosts(session)
    found = []
    for job in jobs:
        reason = job.wait_reason
        if job.state == "queued":
            reason = NO_AGENT if alone else reason or (BEHIND if job.id != first else None)
        found.append(record(job).model_copy(update={"wait_reason": reason}))
    return found


def _link_to_its_starter(context: Context, job: Job) -> None:
    holder = context.user.holder
    starter = context.session.get(Attempt, holder.id) if holder is not None and holder.kind == "job" else None
    if starter is not None:
        link(context.session, Ref(kind="job", id=starter.job_id), Ref(kind="job", id=job.id), STARTED)


def _metric(row: Metric) -> schemas.MetricMessage:
    return schemas.MetricMessage(
        seq=row.seq,
        attempt_no=row.attempt_no,
        step=row.step,
        total_steps=row.total_steps,
        at=row.at,
        values=row.values,
    )
