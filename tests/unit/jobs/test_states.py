from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from workbench.core import events
from workbench.core.database import Database
from workbench.core.errors import Conflict
from workbench.jobs.runner import assign
from workbench.jobs.states import ENDED, LIVE, TRANSITIONS, State, move
from workbench.jobs.tables import Attempt, Job

from .conftest import Host

STATES: Sequence[State] = get_args(State)
PAIRS = list(itertools.product(STATES, STATES))


def put(database: Database, state: State, job_id: str = "job_1", attempt_no: int = 1) -> Job:
    job = Job(id=job_id, kind="k", title="t", owner_id="o", owner_name="O", spec={}, cpus=1, gpus=0)
    with database.write() as session:
        job.state, job.attempt_no = state, attempt_no
        session.add(job)
    return job


def history(database: Database, job_id: str) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(event.type, event.data.get("state", "")) for event in events.after(session, 0, f"job:{job_id}")]


def test_every_transition_happens_exactly_if_it_is_declared(database: Database) -> None:
    for number, (source, target) in enumerate(PAIRS):
        job, legal = put(database, source, f"job_{number}"), target in TRANSITIONS[source]
        refused = nullcontext() if legal else pytest.raises(ValueError, match=f"a {source} job cannot become {target}")
        with refused, database.write() as session:
            assert move(session, job, target)
        with database.read() as session:
            assert session.get_one(Job, job.id).state == (target if legal else source)
        assert history(database, job.id) == ([("state", target)] if legal else [])


def test_only_the_ended_states_lead_nowhere_but_back_to_the_queue() -> None:
    assert {state for state in STATES if TRANSITIONS[state] <= {"queued"}} == ENDED
    assert not LIVE & ENDED


def test_a_move_carries_its_values(database: Database) -> None:
    job = put(database, "running")
    with database.write() as session:
        assert move(session, job, "failed", error="It broke.", error_code="x")
    with database.read() as session:
        found = session.get_one(Job, job.id)
        data = events.after(session, 0)[0].data
    assert (found.error, found.error_code) == ("It broke.", "x")
    assert data == {"state": "failed", "attempt_no": 1, "error": "It broke."}


def test_of_two_who_saw_the_same_state_one_moves(database: Database) -> None:
    seen = put(database, "running")
    with database.write() as session:
        assert move(session, seen, "stopping")
    with database.write() as session:
        assert not move(session, put_aside(seen, "running", 1), "failed", error="late")
    with database.read() as session:
        job = session.get_one(Job, seen.id)
    assert (job.state, job.error) == ("stopping", None)
    assert history(database, seen.id) == [("state", "stopping")]


def test_a_stale_attempt_cannot_move_the_job(database: Database) -> None:
    put(database, "running", attempt_no=2)
    with database.write() as session:
        assert not move(session, put_aside(Job(id="job_1"), "running", 1), "succeeded")


def put_aside(job: Job, state: State, attempt_no: int) -> Job:
    """Return a job as someone saw it earlier."""
    return Job(id=job.id, state=state, attempt_no=attempt_no)


#: What the world may do to a job, in any order; `fresh` says whether the actor has looked just now.
ACTIONS = ["cancel", "resume", "assign", "run", "finish", "fail", "stop", "lose", "requeue"]
Action = tuple[str, int, bool]
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1), st.booleans()), max_size=25)
TARGETS: dict[str, State] = {
    "run": "running",
    "finish": "succeeded",
    "fail": "failed",
    "stop": "stopping",
    "lose": "lost",
    "requeue": "queued",
}


def act(host: Host, action: str, seen: Job) -> None:
    """Do what an actor does who believes that the job is as `seen`."""
    if action in ("cancel", "resume"):
        try:
            host.cancel(seen.id) if action == "cancel" else host.resume(seen.id)
        except Conflict:
            return
    with host.database.write() as session:
        if action == "assign" and seen.state == "queued":
            assign(session, seen, "here")
        elif TARGETS.get(action) in TRANSITIONS[seen.state] and (action != "requeue" or seen.state not in ENDED):  # type: ignore[index]
            move(session, seen, TARGETS[action])


def check(host: Host, before: Job, action: str) -> None:
    now = host.row(before.id)
    numbers = [attempt.no for attempt in host.attempts(now.id)]
    assert numbers == list(range(1, now.attempt_no + 1)), "attempts are counted without a gap or a double"
    assert now.attempt_no >= before.attempt_no
    assert now.state not in LIVE or numbers, "a live job has an attempt"
    if before.state in LIVE and now.attempt_no > before.attempt_no:
        raise AssertionError("a second attempt began while one was live")
    if before.state in ENDED and action != "resume":
        assert now.state == before.state, "an ended job stays ended unless it is resumed"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_interleaving_keeps_the_queue_sane(host: Host, steps: list[Action]) -> None:
    jobs = [host.submit(), host.submit()]
    seen: dict[str, Any] = {job_id: host.row(job_id) for job_id in jobs}
    for action, which, fresh in steps:
        before = host.row(jobs[which])
        act(host, action, before if fresh else seen[jobs[which]])
        check(host, before, action)
        if fresh:
            seen[jobs[which]] = before
    for job_id in jobs:
        follow_history(host, job_id)


def follow_history(host: Host, job_id: str) -> None:
    """The feed tells a legal path, in growing numbers, that ends where the job is."""
    with host.database.read() as session:
        told = [event for event in events.after(session, 0, f"job:{job_id}") if event.type == "state"]
        attempts = session.scalar(select(func.count()).select_from(Attempt).where(Attempt.job_id == job_id))
    assert [event.seq for event in told] == sorted({event.seq for event in told})
    states: list[State] = [event.data["state"] for event in told]
    assert all(later in TRANSITIONS[earlier] for earlier, later in itertools.pairwise(states))
    assert (states[0], states[-1]) == ("queued", host.row(job_id).state)
    assert attempts == states.count("assigned")


@pytest.mark.parametrize("state", sorted(ENDED - {"succeeded"}))
def test_an_ended_job_can_be_queued_again(database: Database, state: State) -> None:
    job = put(database, state)
    with database.write() as session:
        assert move(session, job, "queued")
