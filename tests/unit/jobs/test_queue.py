from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from people import make_person
from sqlalchemy import update

from workbench.accounts.people import owner
from workbench.core import events
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.ownership import NotYours, changeable
from workbench.core.schemas import PageQuery, Sharing
from workbench.jobs import queue, service
from workbench.jobs.agent import Agent
from workbench.jobs.queue import BadCursor, JobNotWaiting
from workbench.jobs.runner import assign
from workbench.jobs.schemas import JobsQuery, QueuedJob, Reorder
from workbench.jobs.service import JobNotFound
from workbench.jobs.states import move
from workbench.jobs.tables import Attempt, Job
from workbench.jobs.tables import Host as HostRow

from .conftest import Host
from .trivial import KINDS

SHOW = PageQuery(limit=200)


def submit(context: Context, title: str, user: Principal | None = None) -> str:
    given = context if user is None else replace(context, user=user)
    job_id = service.submit(given, "train", title, {}).id
    context.session.flush()
    as_owner(context)
    return job_id


def as_owner(context: Context) -> None:
    context.session.info["user"] = context.user


def titles(context: Context) -> str:
    return "".join(queued.job.title for queued in queue.listing(context, SHOW).items)


def put(context: Context, job_id: str, before: str | None, user: Principal | None = None) -> QueuedJob:
    given = context if user is None else replace(context, user=user)
    try:
        return queue.reorder(given, Reorder(job_id=job_id, before=before))
    finally:
        as_owner(context)


def test_jobs_wait_in_the_order_in_which_they_came_and_as_they_are_put(context: Context) -> None:
    a, b, c, d = (submit(context, title) for title in "abcd")
    assert titles(context) == "abcd"
    assert (put(context, d, a).place, titles(context)) == (1, "dabc")
    assert (put(context, d, c).place, titles(context)) == (3, "abdc")
    assert (put(context, a, None).place, titles(context)) == (4, "bdca")
    assert (put(context, b, b).place, titles(context)) == (1, "bdca")
    assert (put(context, b, d).place, titles(context)) == (1, "bdca")
    submit(context, "e")
    assert titles(context) == "bdcae"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4)), max_size=8))
def test_any_moves_leave_what_they_would_leave_of_a_list(context: Context, moves: list[tuple[int, int | None]]) -> None:
    context.session.execute(update(Job).values(state="cancelled"))
    ids = [submit(context, f"{number}") for number in range(5)]
    line = list(range(5))
    for number, before in moves:
        put(context, ids[number], None if before is None else ids[before])
        if number != before:
            line.remove(number)
            line.insert(len(line) if before is None else line.index(before), number)
        assert titles(context) == "".join(map(str, line))
    assert [queued.place for queued in queue.listing(context, SHOW).items] == [1, 2, 3, 4, 5]


def test_what_runs_comes_first_and_has_no_place(context: Context) -> None:
    a, b, c = (submit(context, title) for title in "abc")
    assert assign(context.session, service.find(context.session, c), "here")
    shown = [(one.job.title, one.place) for one in queue.listing(context, SHOW).items]
    assert shown == [("c", None), ("a", 1), ("b", 2)]
    for wanted in (Reorder(job_id=c, before=a), Reorder(job_id=a, before=c), Reorder(job_id=c)):
        with pytest.raises(JobNotWaiting, match=f"{c} is assigned"):
            queue.reorder(context, wanted)
    move(context.session, service.find(context.session, b), "cancelled")
    assert titles(context) == "ca"


def test_the_queue_comes_page_by_page(context: Context) -> None:
    ids = [submit(context, title) for title in "abcde"]
    assert assign(context.session, service.find(context.session, ids[1]), "here")
    assert assign(context.session, service.find(context.session, ids[4]), "here")
    put(context, ids[3], ids[0])
    pages, cursor = [], None
    while True:
        page = queue.listing(context, PageQuery(limit=2, cursor=cursor))
        pages.append("".join(queued.job.title for queued in page.items))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == ["be", "da", "c"]
    for cursor in ("job_x", "2.1.job_x", "1.-1.job_x", f"1.{'9' * 30}.job_x", ""):
        with pytest.raises(BadCursor):
            queue.listing(context, PageQuery(cursor=cursor))


def test_a_page_goes_on_where_the_last_one_ended_wherever_its_last_job_went(context: Context) -> None:
    ids = [submit(context, f"{number}") for number in range(6)]
    page = queue.listing(context, PageQuery(limit=2))
    put(context, ids[1], None)
    rest = queue.listing(context, PageQuery(limit=10, cursor=page.next_cursor))
    assert "".join(queued.job.title for queued in rest.items) == "23451"
    service.cancel(context, ids[1])
    rest = queue.listing(context, PageQuery(limit=10, cursor=page.next_cursor))
    assert "".join(queued.job.title for queued in rest.items) == "2345"


def test_a_waiting_job_says_when_no_agent_lives_and_a_running_one_does_not(context: Context) -> None:
    a, _ = submit(context, "a"), submit(context, "b")
    assert assign(context.session, service.find(context.session, a), "here")
    reasons = [one.job.wait_reason for one in queue.listing(context, SHOW).items]
    assert reasons == [None, service.NO_AGENT]


def test_who_waits_for_others_says_so_in_every_view(context: Context) -> None:
    context.session.add(HostRow(id="here", cpus=1, gpus=0, version="1", heartbeat_at=utcnow()))
    ids = [submit(context, title) for title in "abc"]
    reasons = [one.job.wait_reason for one in queue.listing(context, SHOW).items]
    assert reasons == [None, service.BEHIND, service.BEHIND]
    assert [service.show(context.session, job_id).wait_reason for job_id in ids] == reasons
    assert [job.wait_reason for job in service.listing(context, JobsQuery()).items] == reasons[::-1]


class TestOthersJobs:
    def test_one_moves_ones_own_among_ones_own_and_nobody_else_waits_longer(self, context: Context) -> None:
        ada, ben = make_person(context.session, "Ada"), make_person(context.session, "Ben")
        ids = {title: submit(context, title, ada if title.islower() else ben) for title in "aBcDe"}
        moved = put(context, ids["e"], ids["a"], ada)
        assert titles(context) == "eBaDc"
        assert (moved.place, moved.changeable) == (1, True)
        put(context, ids["e"], None, ada)
        assert titles(context) == "aBcDe"

    def test_what_one_may_not_see_is_not_there_and_what_one_may_only_see_stays(self, context: Context) -> None:
        ada, ben = make_person(context.session, "Ada"), make_person(context.session, "Ben")
        mine, other = submit(context, "a", ada), submit(context, "b", ben)
        with pytest.raises(JobNotFound):
            put(context, mine, other, ada)
        service.change_audience(context, other, Sharing(audience="everyone"))
        for wanted in ((mine, other), (other, mine), (other, None)):
            with pytest.raises(NotYours, match=f"{other} belongs to someone else"):
                put(context, *wanted, user=ada)
        seen = queue.listing(replace(context, user=ada), SHOW).items
        as_owner(context)
        assert [(one.job.title, one.place, one.changeable) for one in seen] == [("a", 1, True), ("b", 2, False)]

    def test_a_place_counts_also_the_jobs_that_one_does_not_see(self, context: Context) -> None:
        ada, ben = make_person(context.session, "Ada"), make_person(context.session, "Ben")
        submit(context, "b", ben)
        submit(context, "a", ada)
        seen = queue.listing(replace(context, user=ada), SHOW).items
        as_owner(context)
        assert [(one.job.title, one.place) for one in seen] == [("a", 2)]

    def test_who_manages_the_workspace_moves_everyones(self, context: Context) -> None:
        ada, ben = make_person(context.session, "Ada"), make_person(context.session, "Ben")
        boss = make_person(context.session, "Boss", "maintainer")
        first, second = submit(context, "a", ada), submit(context, "b", ben)
        put(context, second, first, boss)
        assert titles(context) == "ba"


def test_a_new_job_goes_behind_those_that_its_owner_does_not_see(context: Context) -> None:
    ada, ben = make_person(context.session, "Ada"), make_person(context.session, "Ben")
    for number in range(3):
        submit(context, f"{number}", ada)
    submit(context, "b", ben)
    submit(context, "a", ada)
    assert titles(context) == "012ba"


def test_a_job_that_is_resumed_waits_last(context: Context) -> None:
    """Else an early place could be kept by cancelling, and given to another job."""
    a, _ = submit(context, "a"), submit(context, "b")
    service.cancel(context, a)
    service.resume(context, a)
    assert titles(context) == "ba"


def test_a_move_wakes_the_agent_and_one_that_moves_nothing_does_not(host: Host) -> None:
    a, b = host.submit(), host.submit()

    def told(job_id: str, before: str) -> list[str]:
        with host.database.read() as session:
            newest = events.newest(session)
        with host.database.write() as session:
            queue.reorder(Context(session, owner(), host.settings), Reorder(job_id=job_id, before=before))
        with host.database.read() as session:
            return [event.type for event in events.after(session, newest, "queue")]

    assert told(a, b) == []
    assert told(b, a) == ["reordered"]


def test_the_first_in_line_starts_first(host: Host) -> None:
    first, second = host.submit(cpus=2), host.submit(cpus=2)
    with host.database.write() as session:
        queue.reorder(Context(session, owner(), host.settings), Reorder(job_id=second, before=first))
    agent = Agent(host.database, host.settings.model_copy(update={"cpus": 2}), KINDS)
    agent.tick()
    assert (host.row(second).state, host.row(first).state) == ("assigned", "queued")
    assert "while “a well job” runs" in (host.row(first).wait_reason or "")
    agent.shut_down()


def test_a_job_that_is_cancelled_while_it_is_moved_leaves_the_others_in_their_order(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite a cancel waits for the move to end."""
    if host.database.dialect == "sqlite":
        return
    a, b, c, d = (host.submit() for _ in "abcd")

    def cancelled_meanwhile(*given: object) -> object:
        host.cancel(d)
        return changeable(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(queue, "changeable", cancelled_meanwhile)
    with host.database.write() as session:
        context = Context(session, owner(), host.settings)
        assert queue.reorder(context, Reorder(job_id=d, before=a)).place is None
        assert [one.job.id for one in queue.listing(context, SHOW).items] == [a, b, c]


def test_a_job_is_resumed_while_something_that_it_made_is_written(host: Host) -> None:
    """Its finisher submits the next job in the same transaction: neither may wait for the other for ever."""
    job_id = host.submit()
    host.cancel(job_id)
    if host.database.dialect == "sqlite":
        return
    with host.database.write() as session:
        session.add(Attempt(id="att_1", job_id=job_id, no=1, host_id="here"))
        session.flush()
        assert host.resume(job_id).state == "queued"
        service.submit(Context(session, owner(), host.settings), "train", "next", {})
