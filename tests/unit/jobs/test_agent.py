from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import until
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

import workbench
from workbench.accounts.people import owner
from workbench.core import events
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.schemas import Health
from workbench.core.settings import Settings
from workbench.jobs import schemas, service
from workbench.jobs.agent import Agent, AgentRunning, Leadership, agent_is_up, agent_lock, capacity
from workbench.jobs.files import AttemptFolder, read_json
from workbench.jobs.processes import is_alive

from .conftest import Host
from .trivial import KINDS

PROGRAM = Path(__file__).with_name("agent_process.py")
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cpus=2, gpus=0)


@pytest.fixture
def agent(host: Host) -> Iterator[Agent]:
    agent = Agent(host.database, host.settings, KINDS)
    yield agent
    agent.shut_down()


@pytest.fixture
def start(host: Host, store: str, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start an agent of this home as a process."""
    url = host.database.url
    started: list[subprocess.Popen[bytes]] = []

    def run(idle_seconds: float = 60) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROGRAM), str(host.settings.home), url, str(idle_seconds)]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def tick_until(agent: Agent, host: Host, job_id: str, *states: str) -> schemas.Job:
    def reached() -> schemas.Job | None:
        agent.tick()
        job = host.job(job_id)
        return job if job.state in states else None

    return until(reached, what=f"{job_id} in {states}")


def until_state(host: Host, job_id: str, *states: str) -> schemas.Job:
    return until(lambda: job if (job := host.job(job_id)).state in states else None, what=f"{job_id} in {states}")


def let_go(host: Host, job_id: str) -> None:
    (host.folder(job_id).path / "go").touch()


def health(host: Host) -> Health:
    with host.database.read() as session:
        return service.health(Context(session, owner(), host.settings))


def test_only_one_agent_looks_after_a_home(tmp_path: Path) -> None:
    refused = pytest.raises(AgentRunning, match=f"Another agent looks after {tmp_path}")
    with agent_lock(tmp_path), refused, agent_lock(tmp_path):
        pytest.fail("two hold the lock")
    with agent_lock(tmp_path):
        assert agent_is_up(tmp_path)
    assert not agent_is_up(tmp_path)


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    code = "import sys, time, pathlib\nfrom workbench.jobs.agent import agent_lock\n"
    code += "with agent_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert agent_is_up(tmp_path)
        holder.kill()
        with agent_lock(tmp_path, timeout=20):
            assert holder.wait() == -signal.SIGKILL


def test_an_agent_carries_a_job_from_the_queue_to_its_result(agent: Agent, host: Host) -> None:
    job = tick_until(agent, host, host.submit(steps=3), "succeeded", "failed")
    assert (job.state, job.outcome, job.wait_reason) == ("succeeded", {"answer": 42}, None)
    assert [line.seq for line in host.metrics(job.id)] == [1, 2, 3]


def test_an_agent_is_seen_while_it_is_there(agent: Agent, host: Host) -> None:
    assert health(host).agent == "absent"
    agent.tick()
    assert health(host).agent == "running"
    agent.shut_down()
    assert health(host).agent == "absent"


def test_jobs_wait_for_room_and_say_for_what(agent: Agent, host: Host) -> None:
    first, second, third = host.submit("wait"), host.submit("wait", cpus=2), host.submit("wait")
    tick_until(agent, host, first, "running")
    assert "It needs 2 CPUs; 1 CPU free on" in (host.job(second).wait_reason or "")
    assert host.job(third).wait_reason is None  # that it is behind others is said when it is shown
    let_go(host, first)
    tick_until(agent, host, second, "running")
    assert (host.job(first).state, host.job(second).wait_reason) == ("succeeded", None)
    let_go(host, second)
    tick_until(agent, host, third, "running")
    let_go(host, third)
    tick_until(agent, host, third, "succeeded")


def test_a_job_that_fits_no_host_blocks_nobody(agent: Agent, host: Host) -> None:
    giant, small = host.submit(cpus=64), host.submit()
    tick_until(agent, host, small, "succeeded")
    assert host.job(giant).wait_reason == "It needs 64 CPUs; the largest host has 2 CPUs."


def test_a_host_is_never_given_more_than_it_has(agent: Agent, host: Host) -> None:
    jobs = [host.submit(steps=0) for _ in range(5)]
    most = 0

    def finished() -> bool:
        nonlocal most
        agent.tick()
        states = [host.job(job_id).state for job_id in jobs]
        most = max(most, sum(state in ("assigned", "running", "stopping") for state in states))
        return set(states) == {"succeeded"}

    until(finished)
    assert most == 2
    with host.database.read() as session:
        told = events.after(session, 0)
    order = [event.topic for event in told if event.data.get("state") == "assigned"]
    assert order == [f"job:{job_id}" for job_id in jobs]


def test_a_job_of_an_unknown_kind_fails_and_does_not_hold_up_the_others(agent: Agent, host: Host) -> None:
    strange, known = host.submit(kind="unheard-of"), host.submit()
    tick_until(agent, host, known, "succeeded")
    failed = tick_until(agent, host, strange, "failed")
    assert (failed.error_code, failed.attempt_no) == ("job.unknown_kind", 1)
    assert "“unheard-of”" in str(failed.error)


def test_shutting_down_stops_every_job_and_queues_it_again(agent: Agent, host: Host) -> None:
    job_id = host.submit("wait", steps=1, resume_step=1)
    tick_until(agent, host, job_id, "running")
    run = host.folder(job_id).read("run") or {}
    until(lambda: host.folder(job_id).log.read_bytes())
    agent.shut_down()
    assert not is_alive(run["supervisor"])
    assert (host.job(job_id).state, host.job(job_id).attempt_no) == ("queued", 1)

    again = Agent(host.database, host.settings, KINDS)
    tick_until(again, host, job_id, "running")
    let_go(host, job_id)
    assert tick_until(again, host, job_id, "succeeded").attempt_no == 2
    again.shut_down()


def test_an_agent_with_nothing_to_do_leaves(host: Host, start: Start) -> None:
    job_id = host.submit()
    agent = start(idle_seconds=0.2)
    assert agent.wait(60) == 0
    assert host.job(job_id).state == "succeeded"
    assert health(host).agent == "absent"
    assert not (host.settings.home / "agent.json").exists()


def test_an_agent_that_is_told_to_leaves_its_jobs_running(host: Host, start: Start) -> None:
    job_id = host.submit("wait")
    agent = start()
    until_state(host, job_id, "running")
    who = read_json(host.settings.home / "agent.json") or {}
    assert (who["pid"], who["version"], is_alive(who)) == (agent.pid, workbench.__version__, True)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 0
    run = AttemptFolder(host.settings.home, job_id, 1).read("run") or {}
    assert is_alive(run["supervisor"])
    let_go(host, job_id)
    start(idle_seconds=0.2)
    assert until_state(host, job_id, "succeeded", "failed").attempt_no == 1


def test_a_job_survives_the_kill_of_its_agent(host: Host, start: Start) -> None:
    job_id = host.submit("wait", steps=3)
    agent = start()
    until_state(host, job_id, "running")
    agent.kill()
    agent.wait()
    let_go(host, job_id)
    until(lambda: host.folder(job_id).read("exit"))
    assert host.job(job_id).state == "running"
    start(idle_seconds=0.2)
    job = until_state(host, job_id, "succeeded", "failed")
    assert (job.state, job.attempt_no) == ("succeeded", 1)
    assert [line.seq for line in host.metrics(job_id)] == [1, 2, 3]


def test_a_queued_job_starts_soon(host: Host, start: Start) -> None:
    """An agent wakes when something is committed, not at its next turn."""
    start()
    until(lambda: health(host).agent == "running")
    began = time.monotonic()
    job_id = host.submit("wait")
    until_state(host, job_id, "running")
    assert time.monotonic() - began < 10
    let_go(host, job_id)
    until_state(host, job_id, "succeeded")


def test_on_sqlite_who_holds_the_homes_lock_leads(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    leadership = Leadership(database)
    assert leadership.held()
    leadership.close()
    database.close()


@pytest.fixture
def two(postgresql_database: str) -> Iterator[tuple[Database, Database]]:
    databases = Database(postgresql_database), Database(postgresql_database)
    yield databases
    for database in databases:
        database.close()


def test_on_postgresql_exactly_one_leads(two: tuple[Database, Database]) -> None:
    first, second = Leadership(two[0]), Leadership(two[1])
    assert [first.held(), second.held(), first.held(), second.held()] == [True, False, True, False]
    first.close()
    assert second.held()
    second.close()


def test_who_loses_the_connection_has_lost_the_lead(two: tuple[Database, Database]) -> None:
    first, second = Leadership(two[0]), Leadership(two[1])
    assert first.held()
    holders = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_locks WHERE locktype = 'advisory'"
    with two[1].write() as session:
        assert session.scalar(text(holders)) == 1
    assert second.held()
    with pytest.raises(OperationalError):
        first.held()
    assert not first.held()
    second.close()
    assert first.held()
    first.close()


def test_a_host_offers_what_the_settings_allow(tmp_path: Path) -> None:
    assert capacity(Settings(home=tmp_path, cpus=3, gpus=2)) == (3, 2)
    assert capacity(Settings(home=tmp_path, gpus=0)) == (os.cpu_count(), 0)
