"""What a long queue costs: a page of it, a move, a job more, and the agent's look at it.

Figures are milliseconds of one run; facts/security.md aims at 200 of them. `WORKBENCH_LONG=1` takes 10,000 jobs.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from people import make_person
from sqlalchemy import func, insert, select

from workbench.accounts.people import owner
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.ids import new_id
from workbench.core.schemas import PageQuery
from workbench.core.settings import Settings
from workbench.core.tables import Event
from workbench.jobs import queue, service
from workbench.jobs.agent import Agent
from workbench.jobs.schemas import Reorder
from workbench.jobs.tables import Job

JOBS = 10_000 if os.environ.get("WORKBENCH_LONG") else 1_000
ROUNDS = 5


def milliseconds(work: Callable[[], object]) -> str:
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        found.append((time.perf_counter() - begun) * 1000)
    return f"{statistics.median(found):.0f} (at most {max(found):.0f})"


@pytest.mark.slow
def test_what_a_long_queue_costs(database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, cpus=1)
    with database.write() as session:
        people = [make_person(session, "Ada"), make_person(session, "Ben")]
        rows = [_job(rank, people[rank % 2]) for rank in range(1, JOBS + 1)]
        session.execute(insert(Job), rows)
    ids = [row["id"] for row in rows]
    agent = Agent(database, settings, {})
    agent._beat()
    agent._plan()

    def page(cursor: str | None = None) -> str | None:
        with database.read() as session:
            return queue.listing(Context(session, people[0], settings), PageQuery(limit=200, cursor=cursor)).next_cursor

    def put(job_id: str, before: str) -> None:
        with database.write() as session:
            queue.reorder(Context(session, owner(), settings), Reorder(job_id=job_id, before=before))

    def submit() -> None:
        with database.write() as session:
            service.submit(Context(session, people[0], settings), "train", "new", {})

    second = page()
    print(f"{database.dialect}, {JOBS:,} jobs, in milliseconds, medians of {ROUNDS}:")
    print(f"  a page of 200: first {milliseconds(page)}, second {milliseconds(lambda: page(second))}")
    neighbours = iter(range(500, 900, 2))
    print(f"  a move by one {milliseconds(lambda: put(ids[(at := next(neighbours)) + 1], ids[at]))}")
    far = iter(range(JOBS - 1, 0, -1))
    print(f"  a move from the end to the front {milliseconds(lambda: put(ids[next(far)], ids[1]))}")
    print(f"  a job more {milliseconds(submit)}, the agent's look {milliseconds(agent._plan)}")
    before = _events(database)
    put(ids[JOBS // 2], ids[1])
    agent._plan()
    assert _events(database) - before <= 4, "a move is told to those whom it concerns, not to everyone"


def _job(rank: int, user: Principal) -> dict[str, object]:
    now = utcnow()
    given = {"id": new_id("job"), "kind": "train", "title": f"job {rank}", "rank": rank, "spec": {}, "cpus": 1}
    given |= {"owner_id": user.id, "owner_name": user.name, "audience": "private", "gpus": 0, "state": "queued"}
    return given | {"cancel_requested": False, "attempt_no": 0, "created_at": now, "updated_at": now}


def _events(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0
