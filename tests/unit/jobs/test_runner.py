from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from servers import until
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from workbench.accounts.service import verify
from workbench.core.context import Principal
from workbench.core.engines import DatabaseBusy
from workbench.jobs import runner as module
from workbench.jobs.executor import Status
from workbench.jobs.files import AttemptFolder, write_json
from workbench.jobs.processes import identity, start_time
from workbench.jobs.runner import MAX_ATTEMPTS_AFTER_LOSS, Runner, assign, failure
from workbench.jobs.states import move
from workbench.jobs.tables import Job

from .conftest import Host
from .trivial import KINDS


def token_of(host: Host, job_id: str) -> str:
    return environment(host, job_id)["WORKBENCH_TOKEN"]


def environment(host: Host, job_id: str) -> dict[str, str]:
    """Return the environment of a job's process."""
    run = until(lambda: host.folder(job_id).read("run"))
    return dict(psutil.Process(run["pid"]).environ())


def holder(host: Host, token: str) -> Principal | None:
    with host.database.read() as session:
        return verify(session, token)


def test_a_job_runs_to_its_end(host: Host) -> None:
    job = host.until(host.start(steps=3), "succeeded", "failed")
    assert (job.state, job.outcome, job.error, job.attempt_no) == ("succeeded", {"answer": 42}, None, 1)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at
    assert [line.seq for line in host.metrics(job.id)] == [1, 2, 3]
    (attempt,) = host.attempts(job.id)
    assert (attempt.exit_code, attempt.finished_at is not None) == (0, True)
    assert host.published(job.id) == [attempt.id]


def test_a_job_that_ends_before_the_first_look_succeeds(host: Host) -> None:
    job_id = host.start()
    host.look()
    until(lambda: host.folder(job_id).read("exit"))
    job = host.until(job_id, "succeeded", "failed")
    assert (job.state, job.error) == ("succeeded", None)
    assert job.started_at is not None


def test_the_worker_finds_its_spec(host: Host) -> None:
    job_id = host.start(steps=1)
    host.until(job_id, "succeeded")
    assert host.folder(job_id).read("spec") == {
        "job_id": job_id,
        "attempt_id": host.attempts(job_id)[0].id,
        "attempt_no": 1,
        "last_seq": 0,
        "resume": False,
        "spec": {"end": "well", "steps": 1},
    }


def test_a_worker_is_told_the_newest_live_server(host: Host) -> None:
    servers = host.settings.home / "servers"
    servers.mkdir()
    for number, who in enumerate((identity(os.getpid()), identity(os.getpid()), {**identity(os.getpid()), "pid": 1})):
        write_json(servers / f"{number}.json", who | {"url": f"http://127.0.0.1:{number}/"})
        os.utime(servers / f"{number}.json", (number, number))
    told = host.start("wait")
    host.until_logged(told)
    assert environment(host, told)["WORKBENCH_URL"] == "http://127.0.0.1:1/"


def test_a_jobs_token_is_in_no_file(host: Host) -> None:
    job_id = host.start("wait")
    host.until_logged(job_id)
    token = token_of(host, job_id).encode()
    files = [path for path in host.folder(job_id).path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token in path.read_bytes()]


def test_a_jobs_token_ends_with_the_attempt(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    token = token_of(host, job_id)
    principal = holder(host, token)
    assert principal is not None
    assert (principal.id, "kernels:use" in principal.permissions) == ("owner", False)
    (host.folder(job_id).path / "go").touch()
    host.until(job_id, "succeeded")
    assert holder(host, token) is None


def test_nothing_starts_in_the_name_of_a_disabled_account(host: Host) -> None:
    job_id = host.start("wait")
    with host.database.write() as session:
        session.execute(update(Job).values(owner_id="usr_gone"))
    job = host.until(job_id, "failed", "running")
    assert (job.state, job.error_code) == ("failed", "job.owner_left")


def test_a_crash_is_told_with_its_exit_code(host: Host) -> None:
    job = host.until(host.start("crash"), "failed")
    assert (job.error_code, job.outcome) == ("job.crashed", None)
    assert job.error == "The job's process ended with exit code 3; its log says why."
    assert host.attempts(job.id)[0].exit_code == 3


def test_a_known_failure_is_told_in_the_workers_words(host: Host) -> None:
    job = host.until(host.start("error"), "failed")
    assert (job.error_code, job.error) == ("trivial.refused", "The data do not fit.")


def test_a_killed_job_says_by_what(host: Host) -> None:
    job = host.until(host.start("killed"), "failed")
    assert job.error_code == "job.killed"
    assert job.error is not None
    assert "SIGKILL (signal 9)" in job.error
    assert "resume" in job.error


def test_a_program_that_cannot_start_is_named(host: Host) -> None:
    job = host.until(host.start(kind="missing"), "failed")
    assert job.error_code == "job.crashed"
    assert "no-such-program" in (job.error or "")


def test_an_end_without_a_result_is_a_failure(host: Host) -> None:
    job = host.until(host.start("nothing"), "failed")
    assert job.error == "The job's process ended with exit code 0; its log says why."


def test_a_job_of_an_unknown_kind_fails_in_one_sentence(host: Host) -> None:
    job = host.until(host.start(kind="from-the-future"), "failed")
    assert job.error_code == "job.unknown_kind"
    assert "does not know jobs of the kind “from-the-future”" in (job.error or "")
    assert not host.folder(job.id).path.exists()


def test_a_busy_database_does_not_fail_a_finished_job(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = host.start()
    host.look()
    until(lambda: host.folder(job_id).read("exit"))
    host.look()
    busy = OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))
    with monkeypatch.context() as patched:
        patched.setattr(module, "move", Mock(side_effect=busy))
        with pytest.raises(DatabaseBusy):
            host.look()
    job = host.until(job_id, "succeeded", "failed")
    assert (job.state, job.error) == ("succeeded", None)
    assert len(host.published(job_id)) == 1


def test_a_result_that_cannot_be_published_fails_the_job_and_leaves_nothing(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    job = host.until(host.start(kind="unpublishable"), "failed")
    assert job.error_code == "job.unpublished"
    assert "could not be published (ValueError)" in (job.error or "")
    assert host.published(job.id) == []
    assert "cannot be published" in caplog.text


def test_a_stale_attempt_publishes_nothing(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    (seen,) = host.runner.live()
    with host.database.write() as session:
        job = session.get_one(Job, job_id)
        assert move(session, job, "lost")
        assert move(session, job, "queued")
        assert assign(session, job, "elsewhere")
    (host.folder(job_id, 1).path / "go").touch()
    until(lambda: host.folder(job_id, 1).read("exit"))
    host.runner.follow(seen)
    job_now = host.job(job_id)
    assert (job_now.state, job_now.attempt_no, job_now.outcome) == ("assigned", 2, None)
    assert host.published(job_id) == []


def test_a_stale_runner_does_not_end_a_newer_attempt(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    (seen,) = host.runner.live()
    os.kill((host.folder(job_id).read("run") or {})["pid"], signal.SIGKILL)
    host.until(job_id, "failed")
    host.resume(job_id)
    host.assign(job_id)
    host.runner.follow(seen)
    assert (host.job(job_id).state, host.job(job_id).attempt_no) == ("assigned", 2)


def test_a_job_whose_supervisor_vanished_goes_on(host: Host) -> None:
    job_id = host.start("wait", steps=5, resume_step=3)
    host.until_logged(job_id)
    token = token_of(host, job_id)
    worker = (host.folder(job_id).read("run") or {})["pid"]
    host.kill_supervisor(job_id)
    until(lambda: start_time(worker) is None, what="the worker's end")
    job = host.until(job_id, "queued")
    assert (job.attempt_no, holder(host, token)) == (1, None)
    assert "vanished" in (job.wait_reason or "")

    host.assign(job_id)
    host.until_logged(job_id)
    spec = host.folder(job_id, 2).read("spec") or {}
    assert (spec["resume"], spec["attempt_no"], spec["last_seq"]) == (True, 2, 5)
    (host.folder(job_id, 2).path / "go").touch()
    assert host.until(job_id, "succeeded").attempt_no == 2
    assert [(line.seq, line.step) for line in host.metrics(job_id)] == [
        *[(1, 1), (2, 2), (3, 3)],
        *[(6, 4), (7, 5), (8, 6), (9, 7), (10, 8)],
    ]


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_a_whole_result_counts_however_the_process_ended(host: Host, victim: str) -> None:
    job_id = host.start("wait")
    host.until_logged(job_id)
    write_json(host.folder(job_id).path / "result.json", {"answer": 42})
    run = host.folder(job_id).read("run") or {}
    os.kill(run["pid"] if victim == "worker" else run["supervisor"]["pid"], signal.SIGKILL)
    job = host.until(job_id, "succeeded", "failed", "queued")
    assert (job.state, job.attempt_no, job.error) == ("succeeded", 1, None)


def test_a_job_that_keeps_vanishing_fails(host: Host) -> None:
    job_id = host.submit("wait")
    with host.database.write() as session:
        session.execute(update(Job).values(attempt_no=MAX_ATTEMPTS_AFTER_LOSS - 1))
    host.assign(job_id)
    host.until(job_id, "running")
    host.kill_supervisor(job_id)
    job = host.until(job_id, "failed")
    assert (job.error_code, job.attempt_no) == ("job.lost", MAX_ATTEMPTS_AFTER_LOSS)
    assert job.finished_at is not None


def test_an_attempt_that_never_began_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent was killed between the command and the supervisor."""
    job_id = host.start()
    folder = host.folder(job_id)
    folder.path.mkdir(parents=True)
    write_json(folder.command, {})
    host.look()
    assert host.job(job_id).state == "assigned"
    monkeypatch.setattr(module, "START_GRACE", 0.0)
    host.look()
    assert host.job(job_id).state == "queued"


def test_cancelling_a_running_job_stops_it(host: Host) -> None:
    job_id = host.start("wait")
    host.until_logged(job_id)
    token = token_of(host, job_id)
    assert host.cancel(job_id).cancel_requested
    job = host.until(job_id, "cancelled")
    assert (job.error, job.finished_at is not None) == (None, True)
    assert holder(host, token) is None
    assert host.folder(job_id).read("exit") == {"code": -signal.SIGTERM, "stopped": True}


def test_cancelling_an_assigned_job_starts_nothing(host: Host) -> None:
    job_id = host.start()
    host.cancel(job_id)
    host.look()
    assert host.job(job_id).state == "cancelled"
    assert not host.folder(job_id).path.exists()


def test_a_job_that_ends_well_in_spite_of_a_cancel_has_succeeded(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    (host.folder(job_id).path / "go").touch()
    until(lambda: host.folder(job_id).read("exit"))
    host.cancel(job_id)
    assert host.until(job_id, "succeeded", "cancelled").state == "succeeded"


def test_a_cancelled_job_resumes_as_a_new_attempt(host: Host) -> None:
    job_id = host.start("wait", steps=2, resume_step=2)
    host.until_logged(job_id)
    host.cancel(job_id)
    host.until(job_id, "cancelled")
    host.resume(job_id)
    host.assign(job_id)
    host.until_logged(job_id)
    (host.folder(job_id).path / "go").touch()
    job = host.until(job_id, "succeeded")
    assert (job.attempt_no, job.cancel_requested) == (2, False)
    assert [line.step for line in host.metrics(job_id)] == [1, 2, 3, 4]


def test_a_stopped_host_queues_its_jobs_again(host: Host) -> None:
    job_id = host.start("wait")
    host.until_logged(job_id)
    (job,) = host.runner.live()
    host.runner.stop(job)
    queued = host.until(job_id, "queued")
    assert "stopped" in (queued.wait_reason or "")
    assert (queued.attempt_no, queued.finished_at) == (1, None)


def test_a_new_runner_takes_over_the_jobs_of_a_dead_one(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    host.runner = Runner(host.database, host.settings, KINDS, "here")
    (host.folder(job_id).path / "go").touch()
    assert host.until(job_id, "succeeded").attempt_no == 1


def test_a_job_of_another_host_is_left_alone(host: Host) -> None:
    job_id = host.submit()
    with host.database.write() as session:
        assign(session, session.get_one(Job, job_id), "elsewhere")
    host.look()
    assert host.runner.live() == []
    assert host.job(job_id).state == "assigned"


def test_metrics_arrive_while_the_job_runs_and_only_once(host: Host) -> None:
    job_id = host.start("wait", steps=30, pause=0.005)
    second = Runner(host.database, host.settings, KINDS, "here")
    host.until_logged(job_id)
    for _ in range(2):
        host.look()
        for job in second.live():
            second.follow(job)
    assert [line.seq for line in host.metrics(job_id)] == list(range(1, 31))


def test_a_torn_line_waits_and_a_broken_one_is_passed_over(host: Host) -> None:
    job_id = host.start("wait", steps=1)
    host.until_logged(job_id)
    line = json.dumps({"seq": 2, "step": 2, "total_steps": 9, "at": 1.5, "values": {"loss": 0.5}, "new_field": 1})
    with host.folder(job_id).metrics.open("a") as file:
        file.write('{"seq": \n' + line[:20])
        file.flush()
        host.look()
        assert [metric.seq for metric in host.metrics(job_id)] == [1]
        file.write(line[20:] + "\n")
    host.look()
    assert [metric.seq for metric in host.metrics(job_id)] == [1, 2]
    assert host.metrics(job_id)[1].values == {"loss": 0.5}


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("  exitcode  : -9 (pid: 123)\n  traceback : Signal 9 (SIGKILL) received by PID 123\n", "job.killed"),
        ("  exitcode  : 1 (pid: 123)\n", "job.crashed"),
        ("", "job.crashed"),
    ],
)
def test_a_worker_killed_below_torchrun_counts_as_killed(tmp_path: Path, log: str, code: str) -> None:
    folder = AttemptFolder(tmp_path, "job_1", 1)
    folder.path.mkdir(parents=True)
    folder.log.write_text("x" * 100_000 + log)
    assert failure(folder, Status("exited", 1))[0] == code


def test_a_job_survives_its_agent_and_the_kill_of_its_group(host: Host) -> None:
    job_id = host.start("wait")
    host.until(job_id, "running")
    supervisor = (host.folder(job_id).read("run") or {})["supervisor"]["pid"]
    assert os.getsid(supervisor) == supervisor != os.getsid(0)
