from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from servers import until

from workbench.jobs.executor import LocalExecutor, Status
from workbench.jobs.files import AttemptFolder, write_json
from workbench.jobs.processes import identity, start_time

from .conftest import end

WAIT = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)"


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path, "job_1", 1)
    folder.path.mkdir(parents=True)
    return folder


@pytest.fixture
def executor(folder: AttemptFolder) -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    yield executor
    end(folder)
    executor.poll(folder)


def start(executor: LocalExecutor, folder: AttemptFolder, code: str, **variables: str) -> None:
    executor.start(folder, [sys.executable, "-IS", "-c", code], variables)


def until_phase(executor: LocalExecutor, folder: AttemptFolder, phase: str) -> Status:
    return until(lambda: status if (status := executor.poll(folder)).phase == phase else None, what=phase)


def test_an_attempt_runs_and_exits(executor: LocalExecutor, folder: AttemptFolder) -> None:
    assert executor.poll(folder) == Status("absent")
    start(executor, folder, WAIT)
    until_phase(executor, folder, "running")
    (folder.path / "go").touch()
    assert until_phase(executor, folder, "exited") == Status("exited", 0, stopped=False)


def test_a_stopped_attempt_says_so(executor: LocalExecutor, folder: AttemptFolder) -> None:
    start(executor, folder, WAIT)
    until_phase(executor, folder, "running")
    executor.stop(folder)
    assert until_phase(executor, folder, "exited") == Status("exited", -signal.SIGTERM, stopped=True)


def test_an_attempt_without_its_supervisor_has_vanished(executor: LocalExecutor, folder: AttemptFolder) -> None:
    start(executor, folder, WAIT)
    until_phase(executor, folder, "running")
    os.kill((folder.read("run") or {})["supervisor"]["pid"], signal.SIGKILL)
    assert until_phase(executor, folder, "vanished") == Status("vanished")


def test_an_attempt_of_an_earlier_boot_has_vanished(executor: LocalExecutor, folder: AttemptFolder) -> None:
    earlier = identity(os.getpid()) | {"boot_id": "another"}
    write_json(folder.path / "run.json", {"supervisor": earlier, "pid": 1, "started_at": 0})
    assert executor.poll(folder) == Status("vanished")


def test_another_executor_sees_the_same(executor: LocalExecutor, folder: AttemptFolder) -> None:
    start(executor, folder, WAIT)
    until_phase(LocalExecutor(), folder, "running")


def test_an_ended_attempt_leaves_no_zombie(executor: LocalExecutor, folder: AttemptFolder) -> None:
    start(executor, folder, "pass")
    until_phase(executor, folder, "exited")
    assert [child for child in psutil.Process().children() if str(folder.path) in child.cmdline()] == []
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []


def test_the_job_gets_its_variables_and_none_of_the_servers_secrets(
    executor: LocalExecutor, folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "hunter2")
    monkeypatch.setenv("HF_HOME", "/cache")
    start(executor, folder, "import os; print(dict(os.environ))", WORKBENCH_TOKEN="own")
    until_phase(executor, folder, "exited")
    log = folder.log.read_text()
    assert "hunter2" not in log
    assert "'HF_HOME': '/cache'" in log
    assert "'WORKBENCH_TOKEN': 'own'" in log


def test_the_supervisor_holds_no_secret_but_its_jobs_own(
    executor: LocalExecutor, folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "hunter2")
    start(executor, folder, WAIT, WORKBENCH_TOKEN="own")
    until_phase(executor, folder, "running")
    environment = psutil.Process((folder.read("run") or {})["supervisor"]["pid"]).environ()
    assert "JUPYTER_TOKEN" not in environment
    assert environment["WORKBENCH_TOKEN"] == "own"


ORPHAN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def test_what_a_vanished_supervisor_left_running_is_ended(executor: LocalExecutor, folder: AttemptFolder) -> None:
    start(executor, folder, ORPHAN)
    until_phase(executor, folder, "running")
    pid = int(until(folder.log.read_text))
    os.kill((folder.read("run") or {})["supervisor"]["pid"], signal.SIGKILL)
    until_phase(executor, folder, "vanished")
    executor.end_orphans(AttemptFolder(folder.path.parents[2], "job_1", 10))
    assert start_time(pid) is not None, "another attempt's processes are left alone"
    executor.end_orphans(folder)
    assert start_time(pid) is None
