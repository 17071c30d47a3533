from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import workbench
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.jobs import service
from workbench.jobs.runner import assign
from workbench.jobs.schemas import Job, JobsQuery, LogQuery, State
from workbench.jobs.service import HOST_TIMEOUT, JobEnded, JobNotFound, JobNotResumable, counts, read_log
from workbench.jobs.states import move
from workbench.jobs.tables import Attempt, Host, Metric


def submit(context: Context, kind: str = "train", title: str = "Tune Qwen") -> Job:
    return service.submit(context, kind, title, {"epochs": 3}, cpus=2, gpus=1)


def force(context: Context, job: Job, *states: State) -> None:
    row = service.find(context.session, job.id)
    for state in states:
        if state == "assigned":
            assert assign(context.session, row, "here")
        else:
            assert move(context.session, row, state)


def beat(context: Context, age: timedelta = timedelta()) -> None:
    host = Host(id="here", cpus=4, gpus=1, version="1", heartbeat_at=utcnow() - age)
    context.session.merge(host)


def log(context: Context, job: Job, content: bytes, attempt_no: int = 1) -> None:
    folder = Path(context.settings.home, "jobs", job.id, str(attempt_no))
    folder.mkdir(parents=True)
    (folder / "output.log").write_bytes(content)


def test_a_new_job_waits_at_the_end_of_the_queue(context: Context) -> None:
    beat(context)
    job = submit(context)
    assert service.show(context.session, job.id) == job
    assert (job.state, job.attempt_no, job.kind, job.title) == ("queued", 0, "train", "Tune Qwen")
    assert (job.cpus, job.gpus, job.spec, job.owner_name) == (2, 1, {"epochs": 3}, context.user.name)
    assert (job.cancel_requested, job.outcome, job.error, job.started_at, job.finished_at) == (False, *[None] * 4)


def test_a_long_title_is_cut(context: Context) -> None:
    assert len(submit(context, title="x" * 500).title) == 200


def test_a_job_that_waits_without_an_agent_says_what_to_run(context: Context) -> None:
    job = submit(context)
    assert "run `workbench agent`" in (service.show(context.session, job.id).wait_reason or "")
    beat(context)
    assert service.show(context.session, job.id).wait_reason is None


def test_only_waiting_jobs_ask_for_an_agent(context: Context) -> None:
    job = submit(context)
    service.cancel(context, job.id)
    assert service.show(context.session, job.id).wait_reason is None


@pytest.mark.parametrize("action", [service.cancel, service.resume])
def test_an_unknown_job_is_named(context: Context, action: object) -> None:
    with pytest.raises(JobNotFound, match="There is no job job_x"):
        action(context, "job_x")  # type: ignore[operator]
    with pytest.raises(JobNotFound):
        service.show(context.session, "job_x")
    with pytest.raises(JobNotFound):
        service.metrics(context.session, "job_x", 0)


def test_jobs_are_listed_newest_first_page_by_page(context: Context) -> None:
    made = [submit(context).id for _ in range(5)]
    pages, cursor = [], None
    while True:
        page = service.listing(context, JobsQuery(limit=2, cursor=cursor))
        pages.append([job.id for job in page.items])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [job_id for page in pages for job_id in page] == made[::-1]


def test_the_last_page_ends_even_when_it_is_full(context: Context) -> None:
    made = [submit(context).id for _ in range(2)]
    page = service.listing(context, JobsQuery(limit=2))
    assert ([job.id for job in page.items], page.next_cursor) == (made[::-1], None)


def test_jobs_are_filtered_by_kind_and_state(context: Context) -> None:
    one, two = submit(context, "train"), submit(context, "evaluate")
    force(context, two, "cancelled")
    assert [job.id for job in service.listing(context, JobsQuery(kind="train")).items] == [one.id]
    assert [job.id for job in service.listing(context, JobsQuery(state="cancelled")).items] == [two.id]
    assert service.listing(context, JobsQuery(kind="train", state="cancelled")).items == []


def test_a_waiting_job_is_cancelled_at_once(context: Context) -> None:
    job = service.cancel(context, submit(context).id)
    assert (job.state, job.finished_at is not None, job.wait_reason) == ("cancelled", True, None)


@pytest.mark.parametrize("states", [("assigned",), ("assigned", "running"), ("assigned", "running", "stopping")])
def test_cancelling_a_live_job_is_a_wish(context: Context, states: tuple[State, ...]) -> None:
    job = submit(context)
    force(context, job, *states)
    cancelled = service.cancel(context, job.id)
    assert (cancelled.state, cancelled.cancel_requested, cancelled.finished_at) == (states[-1], True, None)


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_cannot_be_cancelled(context: Context, state: State) -> None:
    job = submit(context)
    force(context, job, "assigned", "running", state)
    with pytest.raises(JobEnded, match=f"has already {state}"):
        service.cancel(context, job.id)


def test_a_failed_job_resumes_without_its_error(context: Context) -> None:
    job = submit(context)
    force(context, job, "assigned", "running")
    row = service.find(context.session, job.id)
    move(context.session, row, "failed", error="It broke.", error_code="x", finished_at=utcnow(), cancel_requested=True)
    resumed = service.resume(context, job.id)
    assert (resumed.state, resumed.attempt_no) == ("queued", 1)
    assert (resumed.error, resumed.error_code, resumed.finished_at) == (None, None, None)
    assert not resumed.cancel_requested


@pytest.mark.parametrize("states", [(), ("assigned",), ("assigned", "running"), ("assigned", "running", "succeeded")])
def test_only_a_failed_or_cancelled_job_resumes(context: Context, states: tuple[State, ...]) -> None:
    job = submit(context)
    force(context, job, *states)
    with pytest.raises(JobNotResumable, match=f"is {states[-1] if states else 'queued'}; only a failed or cancelled"):
        service.resume(context, job.id)


def add_metrics(context: Context, job: Job, attempt_no: int, resumed: int | None, seqs: range, step: int) -> None:
    session = context.session
    first = seqs.start - 1
    name = f"att_{attempt_no}"
    session.add(Attempt(id=name, job_id=job.id, no=attempt_no, host_id="h", first_seq=first, resumed_from_step=resumed))
    for offset, seq in enumerate(seqs):
        numbers = {"seq": seq, "attempt_no": attempt_no, "step": step + offset, "total_steps": 9, "at": seq}
        session.add(Metric(job_id=job.id, values={"loss": 1 / seq}, **numbers))


def test_metrics_beyond_the_checkpoint_of_a_resumed_attempt_no_longer_count(context: Context) -> None:
    job = submit(context)
    add_metrics(context, job, 1, None, range(1, 7), step=1)
    add_metrics(context, job, 2, 4, range(7, 9), step=5)
    add_metrics(context, job, 3, 5, range(9, 11), step=6)
    found = service.metrics(context.session, job.id, 0)
    assert [(line.attempt_no, line.step) for line in found] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (3, 6), (3, 7)]
    assert [line.seq for line in service.metrics(context.session, job.id, 4)] == [7, 9, 10]


def test_an_attempt_that_began_anew_takes_all_before_it_back() -> None:
    assert not counts(1, 1, {1: None, 2: 0})
    assert counts(1, 3, {1: None, 2: None})
    assert counts(2, 9, {1: None, 2: 0})


def test_a_log_is_read_piece_by_piece(context: Context) -> None:
    job = submit(context)
    force(context, job, "assigned")
    log(context, job, b"0123456789")
    first = service.log(context, job.id, LogQuery(limit=4))
    second = service.log(context, job.id, LogQuery(offset=first.next_offset))
    assert (first.text, first.next_offset, first.size_bytes, first.attempt_no) == ("0123", 4, 10, 1)
    assert (second.text, second.next_offset) == ("456789", 10)


@pytest.mark.parametrize(("offset", "text", "begin"), [(-3, "789", 7), (-99, "0123456789", 0), (99, "", 10)])
def test_a_log_is_read_from_its_end_or_beyond(tmp_path: Path, offset: int, text: str, begin: int) -> None:
    (tmp_path / "log").write_bytes(b"0123456789")
    page = read_log(tmp_path / "log", 1, LogQuery(offset=offset))
    assert (page.text, page.offset, page.next_offset) == (text, begin, 10)


def test_undecodable_bytes_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\xffb")
    assert read_log(tmp_path / "log", 1, LogQuery()).text == "a\ufffdb"


def test_a_log_that_was_not_begun_is_empty(context: Context) -> None:
    page = service.log(context, submit(context).id, LogQuery(offset=-5))
    assert (page.text, page.size_bytes, page.next_offset, page.attempt_no) == ("", 0, 0, 0)


def test_health_says_whether_an_agent_keeps_the_queue_moving(context: Context, store: str) -> None:
    health = service.health(context)
    assert (health.status, health.version, health.database) == ("ok", workbench.__version__, store)
    assert (health.agent, health.home) == ("absent", str(context.settings.home))
    beat(context)
    assert service.health(context).agent == "running"
    beat(context, HOST_TIMEOUT * 2)
    assert service.health(context).agent == "unresponsive"
