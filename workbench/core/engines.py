"""Engines for the two databases, and what their errors mean to a caller."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from workbench.core.errors import Conflict, Invalid, Unavailable, WorkbenchError

OVERFLOW = 4  # connections beyond the pool's size, for what runs beside the plain routes
POOL_TIMEOUT = 5.0  # seconds a request waits for a connection of the pool
BUSY_TIMEOUT = 10_000  # milliseconds a SQLite writer waits for another
CONNECT_TIMEOUT = 3  # seconds
APPLICATION = "workbench"  # how our connections are called in pg_stat_activity
POSTGRESQL_OPTIONS = (
    "-c statement_timeout=15000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000 -c timezone=UTC"
)
MOUNTS = Path("/proc/self/mountinfo")
#: Types of file systems that other machines may write too: SQLite's locks and shared memory do not work there.
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "smb3", "smbfs"}
    | {f"fuse.{name}" for name in ("ceph", "glusterfs", "juicefs", "s3fs", "sshfs")}
)
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
#: SQLSTATEs of a database that is there and has no time: no connection left, locks, time-outs, serialization.
BUSY_STATES = frozenset({"53300", "55P03", "57014", "40001", "40P01"})
FULL_STATES = frozenset({"53100", "53200"})


class DatabaseAway(Unavailable):
    """The database does not answer; try again shortly."""

    code = "database.away"
    retry_after = 1


class DatabaseBusy(DatabaseAway):
    """The database is too busy at the moment; try again shortly."""

    code = "database.busy"


class DatabaseFull(DatabaseAway):
    """The database has no room left on its disk; make room and try again."""

    code = "database.full"
    retry_after = 30


class DatabaseForbids(Conflict):
    """The database does not let its user do this."""

    code = "database.forbids"


class NetworkFileSystem(Conflict):
    """SQLite cannot live on a network file system."""

    code = "database.network_file_system"


class BadDatabaseURL(Invalid):
    """The database URL is none that we know."""

    code = "database.url"


@contextmanager
def explaining() -> Iterator[None]:
    """Raise what an error of the database means to a caller in its place."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        known = explained(error)
        if known is None:
            raise
        raise known from error


def explained(error: BaseException) -> WorkbenchError | None:
    """Return what an error of the database means to a caller, None when it is not about the database's state."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(f"Every connection to the database was in use for {POOL_TIMEOUT:.0f} s; try again shortly.")
    if not isinstance(error, DBAPIError):
        return None
    state, text = getattr(error.orig, "sqlstate", None), str(error.orig)
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR":
        return None  # a mistake in a statement, which PostgreSQL's driver tells apart by its class
    if state == "42501":
        return DatabaseForbids(f"PostgreSQL does not let the workbench’s user do this: {text.strip().splitlines()[0]}.")
    if state in BUSY_STATES or "database is locked" in text:
        return DatabaseBusy()
    if state in FULL_STATES or "disk is full" in text:
        return DatabaseFull()
    # 25P03: idle for too long; 25006: a standby that does not write yet
    lost = error.connection_invalidated or state in ("25P03", "25006")
    return DatabaseAway() if lost or type(error).__name__ in ("OperationalError", "InterfaceError") else None


def postgresql_engine(url: str, pool_size: int, schema: str | None = None) -> Engine:
    """Return an engine whose connections are looked at before use, and give up rather than hang."""
    parts = make_url(url)
    given = parts.query.get("options", "")
    options = f"{POSTGRESQL_OPTIONS} {given if isinstance(given, str) else ' '.join(given)}"
    options += f" -c search_path={schema}" if schema is not None else ""
    arguments = {"connect_timeout": CONNECT_TIMEOUT, "options": options, "application_name": APPLICATION}
    arguments |= {"keepalives_idle": 5, "tcp_user_timeout": 8000}
    return create_engine(
        parts.difference_update_query(["options"]),
        pool_size=pool_size,
        max_overflow=OVERFLOW,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args=arguments,
    )


def sqlite_engine(url: str, pool_size: int) -> Engine:
    """Return an engine on a local file: WAL, durable at every commit, writers that wait for each other.

    Raises `NetworkFileSystem` when the file lies where another machine could write it.
    """
    path = make_url(url).database
    if path and path.startswith("file:"):
        path = unquote(path.removeprefix("file:").partition("?")[0])
    if path and (kind := file_system(Path(path), MOUNTS.read_text() if MOUNTS.exists() else "")) is not None:
        raise NetworkFileSystem(
            f"The SQLite file {path} would lie on a network file system ({kind}), where its locks do not hold; take"
            " a home on a local disk, or PostgreSQL by WORKBENCH_DATABASE_URL."
        )
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=OVERFLOW,
        pool_timeout=POOL_TIMEOUT,
        connect_args={"timeout": BUSY_TIMEOUT / 1000},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the network file system that a path lies on, None for a local one.

    `mounts` is the content of Linux's `/proc/self/mountinfo`.
    """
    real = os.path.realpath(path)
    longest, found = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape").rstrip("/")
        if (real == point or real.startswith(f"{point}/")) and len(point) >= longest:  # a later mount hides an earlier
            longest, found = len(point), after.split()[0]
    return found if found in NETWORK_FILE_SYSTEMS else None


def dialect_of(url: str) -> str:
    """Return `sqlite` or `postgresql`; raises `BadDatabaseURL` for anything else."""
    try:
        name = make_url(url).drivername
    except ArgumentError as error:
        raise BadDatabaseURL("The database URL cannot be read; it looks like postgresql://user@host/name.") from error
    if name not in DRIVERS:
        raise BadDatabaseURL(f"The workbench knows the databases sqlite and postgresql, not {name[:40]}.")
    return DRIVERS[name]


def where(url: str) -> str:
    """Say where a database is, without its password."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        return str(parts.database)
    return f"{parts.host or 'the local socket'}{f':{parts.port}' if parts.port else ''}/{parts.database or ''}"


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writer = connection.get_execution_options().get("workbench_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")
