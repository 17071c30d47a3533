from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from servers import until

from workbench.jobs.processes import identity, is_alive, start_time


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_running_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    assert is_alive(identity(child.pid))
    assert is_alive(identity(os.getpid()))


def test_an_ended_process_is_not(child: subprocess.Popen[bytes]) -> None:
    who = identity(child.pid)
    child.kill()
    child.wait()
    assert not is_alive(who)
    assert start_time(child.pid) is None


def test_a_zombie_is_not(child: subprocess.Popen[bytes]) -> None:
    who = identity(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: not is_alive(who))
    assert os.path.exists(f"/proc/{child.pid}")


def test_another_process_with_the_same_pid_is_another(child: subprocess.Popen[bytes]) -> None:
    who = identity(child.pid)
    assert not is_alive(who | {"start_time": who["start_time"] - 1})


def test_a_process_of_an_earlier_boot_is_gone(child: subprocess.Popen[bytes]) -> None:
    assert not is_alive(identity(child.pid) | {"boot_id": "00000000-0000-0000-0000-000000000000"})
