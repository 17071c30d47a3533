"""The line in which jobs wait: which starts next, and how people change that. Never commits."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from sqlalchemy import Select, func, select, tuple_, update

from workbench.core import events
from workbench.core.context import Context
from workbench.core.errors import Conflict
from workbench.core.ownership import may_change, require_change
from workbench.core.schemas import Page, PageQuery
from workbench.jobs import schemas, service
from workbench.jobs.service import EVERY
from workbench.jobs.states import LIVE
from workbench.jobs.tables import Job

TOPIC = "queue"
WAITS = Job.state == "queued"


class JobNotWaiting(Conflict):
    """Only a waiting job has a place in the queue."""

    code = "job.not_waiting"


def listing(context: Context, query: PageQuery) -> Page[schemas.QueuedJob]:
    """Return what runs, and then what waits, in the order in which it starts."""
    statement = _in_order().limit(query.limit + 1)
    if query.cursor is not None:
        last = service.find(context.session, query.cursor)
        statement = statement.where(tuple_(WAITS, Job.rank, Job.id) > (last.state == "queued", last.rank, last.id))
    found = context.session.execute(statement).all()
    alone = not service.live_hosts(context.session)
    items = [_record(context, job, place, alone) for job, place in found[: query.limit]]
    return Page(items=items, next_cursor=items[-1].job.id if len(found) > query.limit else None)


def reorder(context: Context, wanted: schemas.Reorder) -> schemas.QueuedJob:
    """Let a waiting job start before another one, or last.

    Jobs change places only with those that the caller may change too, so that nobody else's waits longer for it.
    Raises `JobNotWaiting` and `NotYours`.
    """
    session, named = context.session, [wanted.job_id, *filter(None, [wanted.before])]
    for job_id in named:
        require_change(context, service.find(session, job_id), f"The job {job_id}")
    ranks = _lock(context)
    for job_id in named:
        if job_id not in ranks:
            raise JobNotWaiting(f"The job {job_id} does not wait; only a waiting job has a place in the queue.")
    moved = _dealt_anew(ranks, wanted)
    if moved:
        session.execute(update(Job), [{"id": job_id, "rank": rank} for job_id, rank in moved.items()])
        session.expire_all()
        events.publish(session, TOPIC, "reordered", {"job_id": wanted.job_id, "before": wanted.before})
    context.noted["job"], context.noted["before"] = wanted.job_id, wanted.before
    job, place = session.execute(_in_order().where(Job.id == wanted.job_id)).one()
    return _record(context, job, place, alone=not service.live_hosts(session))


def _lock(context: Context) -> dict[str, int]:
    """Return the ranks of the waiting jobs that the caller may change, the first one's first, and hold those jobs."""
    columns = (Job.id, Job.rank, Job.owner_id, Job.audience)
    held = context.session.execute(select(*columns).where(WAITS).order_by(Job.id).with_for_update()).all()
    mine = [row for row in held if may_change(context.user, row.owner_id, row.audience)]
    return {row.id: row.rank for row in sorted(mine, key=lambda row: (row.rank, row.id))}


def _dealt_anew(ranks: dict[str, int], wanted: schemas.Reorder) -> dict[str, int]:
    """Return the ranks that change when the same ranks are dealt out in the new order."""
    if wanted.job_id == wanted.before:
        return {}
    line = [job_id for job_id in ranks if job_id != wanted.job_id]
    line.insert(len(line) if wanted.before is None else line.index(wanted.before), wanted.job_id)
    dealt = accumulate(ranks.values(), lambda earlier, rank: max(earlier + 1, rank))  # two may have been given one rank
    return {job_id: rank for job_id, rank in zip(line, dealt, strict=True) if ranks[job_id] != rank}


def _in_order() -> Select[Any]:
    """Select what runs and what waits, with its place among everyone's waiting jobs."""
    place = func.row_number().over(order_by=(EVERY.rank, EVERY.id)).label("place")
    places = select(EVERY.id, place).where(EVERY.state == "queued").subquery()
    statement = select(Job, places.c.place).outerjoin(places, places.c.id == Job.id)
    return statement.where(Job.state.in_(LIVE | {"queued"})).order_by(WAITS, Job.rank, Job.id)


def _record(context: Context, job: Job, place: int | None, alone: bool) -> schemas.QueuedJob:
    shown = service.record(job, alone=alone and place is not None)
    changeable = may_change(context.user, job.owner_id, job.audience)
    return schemas.QueuedJob(place=place, changeable=changeable, job=shown)
