"""Real servers for tests: started in a home of their own, reached by HTTP, stopped with all that they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import postgresql
import psutil
from sqlalchemy import make_url

from workbench import launch
from workbench.core.database import Database
from workbench.core.ids import new_id
from workbench.core.settings import FILE, Settings
from workbench.jobs.files import read_json
from workbench.session import Workbench, connect

T = TypeVar("T")
START_TIMEOUT = 90.0  # seconds


def until(probe: Callable[[], T | None], timeout: float = 60.0, what: str = "it") -> T:
    """Return the first truthy answer of `probe`; fail the test when none comes in time."""
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout} s"
        time.sleep(0.05)
    return answer


#: URL of a PostgreSQL server on which every home gets a database of its own; None: homes have SQLite.
POSTGRESQL: str | None = None


def on_postgresql(home: Path) -> None:
    """Let a home that has no database yet use one on the tests' PostgreSQL server."""
    if POSTGRESQL is not None and not (home / FILE).exists() and not (home / "workbench.db").exists():
        name = new_id("home")
        postgresql.administer(POSTGRESQL, f"CREATE DATABASE {name}")
        url = make_url(POSTGRESQL).set(database=name, drivername="postgresql")
        Settings(home=home).keep("database_url", url.render_as_string(hide_password=False))


class Lab:
    """A server process and its home."""

    def __init__(self, home: Path, command: list[str] | None = None, **variables: str) -> None:
        self.home = home
        self._wb: Workbench | None = None
        home.mkdir(parents=True, exist_ok=True)
        if "WORKBENCH_DATABASE_URL" not in variables:
            on_postgresql(home)
        default = [sys.executable, "-m", "workbench", "lab", "--no-browser", "--port", "0", "--home", str(home)]
        environment = os.environ | {"WORKBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"} | variables
        with (home / "test-server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command or default, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=home
            )
        self.known = until(self._known, START_TIMEOUT, "the server's start")

    def _known(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, (self.home / "test-server.log").read_text()[-3000:]
        known = launch.running_server(self.home)
        return known if known is not None and known["pid"] == self.process.pid else None

    @property
    def url(self) -> str:
        return str(self.known["url"])

    @property
    def token(self) -> str:
        return str(self.known["token"])

    @property
    def wb(self) -> Workbench:
        """A connection as the owner; a restarted server gets a new one."""
        if self._wb is None or self._wb.http.url != self.url.rstrip("/"):
            self.disconnect()
            self._wb = connect(self.url, self.token)
        return self._wb

    def database(self) -> Database:
        """Open the home's database, on whichever store it is."""
        return Database(Settings(home=self.home).resolved_database_url())

    def disconnect(self) -> None:
        """Close the connection."""
        if self._wb is not None:
            self._wb.close()
            self._wb = None

    def agent_pid(self) -> int:
        """Return the pid of the home's live agent."""

        def live() -> int | None:
            known = read_json(self.home / "agent.json")
            return int(known["pid"]) if known is not None and psutil.pid_exists(known["pid"]) else None

        return until(live, 90, "an agent's start")

    def kill(self) -> None:
        """Kill the server as a crash would."""
        self.disconnect()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running_lab(home: Path, command: list[str] | None = None, **variables: str) -> Iterator[Lab]:
    """Run a server for the length of a block; nothing of it is left afterwards."""
    lab = Lab(home, command, **variables)
    try:
        yield lab
    finally:
        lab.disconnect()
        stop_home(home, **variables)
        lab.process.wait(timeout=30)


@contextmanager
def running_dashboards(home: Path) -> Iterator[tuple[str, str]]:
    """Run a dashboards process beside a home's server for the length of a block: its URL, and the owner's ticket."""
    command = [sys.executable, "-m", "workbench", "dashboards", "--no-browser", "--port", "0", "--home", str(home)]
    with (home / "dashboards.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=os.environ)
    assert process.stdout is not None
    try:
        where = json.loads(process.stdout.readline())
        yield where["url"], where["ticket"]
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def stop_home(home: Path, **variables: str) -> None:
    """Run `workbench stop` for a home."""
    command = [sys.executable, "-m", "workbench", "stop", "--home", str(home)]
    subprocess.run(command, env=os.environ | variables, check=True, timeout=150)


def processes_of(home: Path) -> list[str]:
    """Return the command lines of live processes that name a home or carry it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            named = str(home) in line or process.environ().get("WORKBENCH_HOME") == str(home)
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and named:
                found.append(f"{process.pid} {line}")
        except psutil.Error:
            continue
    return found


def attempt_lines(home: Path, job_id: str, no: int) -> list[dict[str, Any]]:
    """Return the metric lines that an attempt has written."""
    path = home / "jobs" / job_id / str(no) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
