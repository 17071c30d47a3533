"""The state machine of a job, and the one function that moves a job through it."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import update
from sqlalchemy.orm import Session

from workbench.core import events
from workbench.core.clock import utcnow
from workbench.jobs.tables import Job

State = Literal["queued", "assigned", "running", "stopping", "lost", "succeeded", "failed", "cancelled"]

#: From each state, the states it may move to.
TRANSITIONS: dict[State, frozenset[State]] = {
    "queued": frozenset({"assigned", "cancelled"}),
    "assigned": frozenset({"running", "stopping", "lost", "failed", "cancelled", "queued"}),
    "running": frozenset({"stopping", "succeeded", "failed", "lost", "cancelled", "queued"}),
    "stopping": frozenset({"cancelled", "succeeded", "failed", "lost", "queued"}),
    "lost": frozenset({"queued", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
LIVE: frozenset[State] = frozenset({"assigned", "running", "stopping"})
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


def move(session: Session, job: Job, target: State, **values: Any) -> bool:
    """Move a job to `target` if it is still in the state and attempt that the caller saw; tell the feed.

    Returns False, and changes nothing, when another actor was faster: the attempt number is the fencing token.
    """
    seen: State = job.state  # type: ignore[assignment]
    if target not in TRANSITIONS[seen]:
        raise ValueError(f"a {seen} job cannot become {target}")
    unchanged = (Job.id == job.id) & (Job.state == seen) & (Job.attempt_no == job.attempt_no)
    fields = {"state": target, "updated_at": utcnow(), **values}
    moved = session.execute(update(Job).where(unchanged).values(fields).execution_options(synchronize_session=False))
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        return False
    fresh = session.get_one(Job, job.id, populate_existing=True)
    data = {"state": target, "attempt_no": fresh.attempt_no, "error": fresh.error}
    events.publish(session, f"job:{job.id}", "state", data)
    return True
