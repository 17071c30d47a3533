"""The supervisor as a real process, started the way the executor starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import until

from workbench.jobs.executor import SUPERVISOR
from workbench.jobs.processes import is_alive, start_time

GRACE = 0.3  # seconds
Start = Callable[..., subprocess.Popen[bytes]]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
#: A job whose child leaves the process group, ignores TERM and outlives its parent.
WITH_ORPHAN = """
import subprocess, sys
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-IS", "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
open("orphan", "w").write(str(child.pid))
print("up", flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def run(code: str, **variables: str) -> subprocess.Popen[bytes]:
        command = {"argv": [sys.executable, "-IS", "-c", code], "grace": GRACE}
        (tmp_path / "command.json").write_text(json.dumps(command))
        arguments = [sys.executable, "-I", "-S", str(SUPERVISOR), str(tmp_path)]
        started.append(subprocess.Popen(arguments, cwd=tmp_path, env=variables, start_new_session=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def read(folder: Path, name: str) -> Any:
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def until_up(folder: Path) -> dict[str, Any]:
    """Wait until the job says that it is up; return run.json."""
    log = folder / "output.log"
    until(lambda: log.exists() and b"up" in log.read_bytes(), what="the job's start")
    return dict(until(lambda: read(folder, "run")))


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_it_writes_down_how_the_job_ended(start: Start, tmp_path: Path, code: str, exit_code: int) -> None:
    assert start(code).wait(20) == 0
    assert read(tmp_path, "exit") == {"code": exit_code, "stopped": False}


def test_it_says_who_runs(start: Start, tmp_path: Path) -> None:
    supervisor = start(STUBBORN)
    run = until_up(tmp_path)
    assert run["supervisor"]["pid"] == supervisor.pid
    assert is_alive(run["supervisor"])
    assert start_time(run["pid"]) is not None
    assert read(tmp_path, "exit") is None


def test_the_log_holds_everything_in_order(start: Start, tmp_path: Path) -> None:
    start("import os\nfor n in range(20000): os.write(1 + n % 2, b'%d\\n' % n)").wait(20)
    assert (tmp_path / "output.log").read_bytes() == b"".join(b"%d\n" % n for n in range(20_000))


def test_a_log_is_added_to(start: Start, tmp_path: Path) -> None:
    (tmp_path / "output.log").write_text("before\n")
    start("print('after')").wait(20)
    assert (tmp_path / "output.log").read_text() == "before\nafter\n"


def test_the_job_gets_the_given_environment_and_nothing_else(start: Start, tmp_path: Path) -> None:
    start("import os; print(sorted(os.environ))", WORKBENCH_HOME="/h", LC_ALL="C.UTF-8").wait(20)
    assert (tmp_path / "output.log").read_text() == "['LC_ALL', 'WORKBENCH_HOME']\n"


def test_a_program_that_is_not_there_is_an_exit_with_a_reason(start: Start, tmp_path: Path) -> None:
    start("pass")
    until(lambda: read(tmp_path, "exit"))
    (tmp_path / "exit.json").unlink()
    command = {"argv": ["/no/such/program"], "grace": GRACE}
    (tmp_path / "command.json").write_text(json.dumps(command))
    subprocess.run([sys.executable, "-I", "-S", str(SUPERVISOR), str(tmp_path)], check=True, timeout=20)
    ended = read(tmp_path, "exit")
    assert (ended["code"], ended["stopped"]) == (127, False)
    assert "/no/such/program" in ended["reason"]


def test_a_cancelled_job_gets_to_end_gracefully(start: Start, tmp_path: Path) -> None:
    graceful = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(143)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    supervisor = start(graceful)
    until_up(tmp_path)
    (tmp_path / "cancel").touch()
    supervisor.wait(20)
    assert read(tmp_path, "exit") == {"code": 143, "stopped": True}
    assert (tmp_path / "output.log").read_text() == "up\nsaved\n"


def test_a_job_that_ignores_the_request_is_killed_after_the_grace(start: Start, tmp_path: Path) -> None:
    supervisor = start(STUBBORN)
    until_up(tmp_path)
    (tmp_path / "cancel").touch()
    supervisor.wait(20)
    assert read(tmp_path, "exit") == {"code": -signal.SIGKILL, "stopped": True}


def test_a_job_cancelled_before_its_start_is_stopped(start: Start, tmp_path: Path) -> None:
    (tmp_path / "cancel").touch()
    start(STUBBORN).wait(20)
    assert read(tmp_path, "exit")["stopped"]


def test_no_process_of_the_job_is_left(start: Start, tmp_path: Path) -> None:
    start(WITH_ORPHAN).wait(20)
    assert read(tmp_path, "exit") == {"code": 0, "stopped": False}
    assert start_time(int((tmp_path / "orphan").read_text())) is None


def test_a_cancel_reaches_processes_that_left_the_group(start: Start, tmp_path: Path) -> None:
    supervisor = start(WITH_ORPHAN + "import time; time.sleep(60)")
    until_up(tmp_path)
    (tmp_path / "cancel").touch()
    supervisor.wait(20)
    assert read(tmp_path, "exit")["stopped"]
    assert start_time(int((tmp_path / "orphan").read_text())) is None


def test_a_killed_supervisor_takes_its_job_along(start: Start, tmp_path: Path) -> None:
    supervisor = start(STUBBORN)
    run = until_up(tmp_path)
    supervisor.kill()
    supervisor.wait()
    until(lambda: start_time(run["pid"]) is None, timeout=20, what="the job's end")
    assert not is_alive(run["supervisor"])
    assert read(tmp_path, "exit") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_to_the_supervisor_do_not_end_the_job(start: Start, tmp_path: Path, number: int) -> None:
    supervisor = start("import os, time; print('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)")
    until_up(tmp_path)
    os.kill(supervisor.pid, number)
    (tmp_path / "go").touch()
    supervisor.wait(20)
    assert read(tmp_path, "exit") == {"code": 0, "stopped": False}


def test_the_job_can_be_terminated_although_its_supervisor_ignores_it(start: Start, tmp_path: Path) -> None:
    code = "import signal; print('up', signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    start(code).wait(20)
    assert (tmp_path / "output.log").read_text() == "up True\n"
