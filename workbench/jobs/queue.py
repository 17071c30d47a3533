"""The line in which jobs wait: which starts next, and how people change that. Never commits."""

from __future__ import annotations

import re

from sqlalchemy import func, select, tuple_, update

from workbench.core import events
from workbench.core.context import Context
from workbench.core.errors import Conflict, Invalid
from workbench.core.ownership import changeable, may_change, require_change
from workbench.core.schemas import Page, PageQuery
from workbench.jobs import schemas, service
from workbench.jobs.states import LIVE
from workbench.jobs.tables import EVERYONES, Job

TOPIC = "queue"
WAITS = Job.state == "queued"
CURSOR = re.compile(r"([01])\.(\d{1,18})\.(\w{1,80})", re.ASCII)  # whether it waits, its rank and its id


class JobNotWaiting(Conflict):
    """Only a waiting job has a place in the queue."""

    code = "job.not_waiting"


class BadCursor(Invalid):
    """This is no cursor that this list has given."""

    code = "queue.cursor"


def listing(context: Context, query: PageQuery) -> Page[schemas.QueuedJob]:
    """Return what runs, and then what waits, in the order in which it starts."""
    statement = select(Job).where(Job.state.in_(LIVE | {"queued"})).order_by(WAITS, Job.rank, Job.id)
    if query.cursor is not None:
        last = CURSOR.fullmatch(query.cursor)
        if last is None:
            raise BadCursor("The cursor is none that the queue has given; leave it out to begin anew.")
        statement = statement.where(tuple_(WAITS, Job.rank, Job.id) > (last[1] == "1", int(last[2]), last[3]))
    rows = list(context.session.scalars(statement.limit(query.limit + 1)))
    shown, more = rows[: query.limit], len(rows) > query.limit
    cursor = f"{int(shown[-1].state == 'queued')}.{shown[-1].rank}.{shown[-1].id}" if more else None
    return Page(items=_records(context, shown), next_cursor=cursor)


def reorder(context: Context, wanted: schemas.Reorder) -> schemas.QueuedJob:
    """Let a waiting job start before another one, or last.

    It changes places with waiting jobs that its caller may change too, and with no others: theirs stay as they are.
    Raises `JobNotWaiting` and `NotYours`.
    """
    session = context.session
    service.hold_queue(session)
    moved = _waiting(context, wanted.job_id)
    before = _waiting(context, wanted.before) if wanted.before is not None else None
    between = EVERYONES.rank >= moved.rank
    if before is not None and before.rank < moved.rank:
        between = EVERYONES.rank.between(before.rank, moved.rank)
        rank = func.coalesce(func.lead(EVERYONES.rank).over(order_by=EVERYONES.rank), before.rank)
    else:
        if before is not None:
            between &= EVERYONES.rank < before.rank
        last = func.max(EVERYONES.rank).over()
        rank = func.coalesce(func.lag(EVERYONES.rank).over(order_by=EVERYONES.rank), last)
    # the moved one also when it was cancelled a moment ago: as many ranks are dealt out as were taken
    waits = (EVERYONES.state == "queued") | (EVERYONES.id == moved.id)
    mine = waits & between & changeable(Job, context.user)
    dealt = select(EVERYONES.id, rank.label("rank")).where(mine).subquery()
    anew = update(Job).where(Job.id == dealt.c.id, Job.rank != dealt.c.rank).values(rank=dealt.c.rank)
    if session.execute(anew.execution_options(synchronize_session=False)).rowcount:  # type: ignore[attr-defined]
        events.publish(session, TOPIC, "reordered", {"job_id": wanted.job_id, "before": wanted.before})
    context.noted["job"], context.noted["before"] = wanted.job_id, wanted.before
    session.refresh(moved)
    return _records(context, [moved])[0]


def _waiting(context: Context, job_id: str) -> Job:
    job = service.find(context.session, job_id)
    require_change(context, job, f"The job {job_id}")
    if job.state != "queued":
        raise JobNotWaiting(f"The job {job_id} is {job.state}; only a waiting job has a place in the queue.")
    return job


def _records(context: Context, jobs: list[Job]) -> list[schemas.QueuedJob]:
    """Return jobs with their places among everyone's waiting jobs."""
    session = context.session
    number = func.row_number().over(order_by=(EVERYONES.rank, EVERYONES.id))
    line = select(EVERYONES.id, number.label("place")).where(EVERYONES.state == "queued").subquery()
    found = session.execute(select(line).where(line.c.id.in_([job.id for job in jobs])))
    places = {row.id: row.place for row in found}
    return [
        schemas.QueuedJob(place=places.get(job.id), changeable=may_change(context.user, job), job=shown)
        for job, shown in zip(jobs, service.records(session, jobs), strict=True)
    ]
