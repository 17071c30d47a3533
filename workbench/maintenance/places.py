"""Where a restore works: alone with the database, in a scratch place beside it, which is then swapped in."""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

from sqlalchemy import Connection, make_url, text

from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.engines import APPLICATION, where
from workbench.core.errors import Conflict
from workbench.core.settings import Settings
from workbench.datasets.store import publish
from workbench.jobs.agent import AgentRunning, agent_lock
from workbench.jobs.files import live_servers
from workbench.migrations.tables import METADATA

STAMP = "%Y%m%dt%H%M%Sz"
SCRATCH = "workbench_"  # how scratch places begin, and the whole of their names
SCRATCH_NAME = re.compile(r"workbench_(?:drill|restore)_(\d{8}t\d{6}z)_[0-9a-f]{8}")
COMMENT = "a scratch place of the workbench"
LOGS = ("-wal", "-shm", "-journal")
LEAVING = 3.0  # seconds PostgreSQL may take to end a closed connection's process
LOCK_WAIT = 2.0  # seconds; a server that looks whether an agent is there holds its lock for an instant


class InUse(Conflict):
    """Something of the workbench still uses the database."""

    code = "database.in_use"


@contextmanager
def alone(settings: Settings, database: Database) -> Iterator[None]:
    """Keep servers and agents away from a home's database; raises `InUse` when one is there."""
    try:
        with agent_lock(settings.home, timeout=LOCK_WAIT):
            check_alone(settings, database)
            yield
    except AgentRunning as error:
        raise InUse(f"An agent of {settings.home} runs; end it first: workbench stop --home {settings.home}") from error


def check_alone(settings: Settings, database: Database, own: int = 0) -> None:
    """Raise `InUse` when a server of the home runs, or others beside our `own` connections use PostgreSQL.

    A closed connection's process stays with PostgreSQL for a moment: only one that stays is another's.
    """
    deadline = time.monotonic() + LEAVING
    while True:
        others = _others(database) - own
        if live_servers(settings.home):
            raise InUse(f"A server of {settings.home} runs; end it first: workbench stop --home {settings.home}")
        if others <= 0:
            return
        if time.monotonic() >= deadline:
            raise InUse(f"{others} other connections of the workbench use {where(database.url)}; stop them first.")
        time.sleep(0.05)


@contextmanager
def scratch(database: Database, purpose: str) -> Iterator[Database]:
    """Make an empty place beside a database: another file, or another schema. Nothing of it is left afterwards."""
    name = f"{SCRATCH}{purpose}_{utcnow().strftime(STAMP)}_{token_hex(4)}"
    _sweep(database)
    if database.dialect == "sqlite":
        file = _file(database).with_name(f"{_file(database).name}.{name}")
        _remove(file)
        made = Database(f"sqlite:///{quote(str(file))}", pool_size=2)
    else:
        _administer(database, f"CREATE SCHEMA {name}", f"COMMENT ON SCHEMA {name} IS '{COMMENT}'")
        made = Database(database.url, pool_size=2, schema=name)
    try:
        yield made
    finally:
        made.close()
        if database.dialect == "sqlite":
            _remove(file)
        else:
            _administer(database, f"DROP SCHEMA IF EXISTS {name} CASCADE")


def swap(database: Database, made: Database) -> str | None:
    """Put a scratch place's tables in the place of a database's, and return where those are kept, if there were any."""
    made.close()
    return _swap_file(database, made) if database.dialect == "sqlite" else _swap_tables(database, made)


def _swap_file(database: Database, made: Database) -> str | None:
    """Give the restored file the database's name in one step; the old file keeps its content under another.

    Nobody else has the old file open meanwhile: SQLite leaves its write-ahead log only when it is alone.
    """
    file, fresh = _file(database), _file(made)
    database.close()
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    if not file.exists():
        publish(fresh, file)
        return None
    with closing(sqlite3.connect(file, isolation_level=None, timeout=LOCK_WAIT)) as connection:
        damaged = _held(connection, file)
        kept = file.with_name(f"{file.name}.before-{utcnow().strftime(STAMP)}-{token_hex(2)}")
        try:
            kept.hardlink_to(file)
        except OSError:  # a file system without links
            shutil.copy2(file, kept)
        for ending in LOGS:
            log = file.with_name(f"{file.name}{ending}")
            if damaged and log.exists():
                log.replace(kept.with_name(f"{kept.name}{ending}"))
            log.unlink(missing_ok=True)
        publish(fresh, file)
    return str(kept)


def _held(connection: sqlite3.Connection, file: Path) -> bool:
    """Hold a file alone; returns True for one that is damaged, which nobody can use. Raises `InUse`."""
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        raise InUse(f"Something else has {file} open ({error}); end it first.") from error
    except sqlite3.DatabaseError:
        return True
    return False


def _swap_tables(database: Database, made: Database) -> str | None:
    """Move our old tables to a schema of their own and the restored ones to their place, in one transaction."""
    ours = {*METADATA.tables, "alembic_version"}
    with database.engine.begin() as connection:
        with made.engine.connect() as inside:
            scratch_schema = str(inside.scalar(text("SELECT current_schema()")))
        home = str(connection.scalar(text("SELECT current_schema()")))
        old = [table for table in _tables(connection, home) if table in ours]
        kept = f"workbench_before_{utcnow().strftime(STAMP)}_{token_hex(2)}" if old else None
        if kept is not None:
            connection.exec_driver_sql(f"CREATE SCHEMA {kept}")
        for table in old:
            connection.exec_driver_sql(f'ALTER TABLE "{home}"."{table}" SET SCHEMA {kept}')
        for table in _tables(connection, scratch_schema):
            connection.exec_driver_sql(f'ALTER TABLE {scratch_schema}."{table}" SET SCHEMA "{home}"')
    made.close()
    return f"schema {kept}" if kept is not None else None


def _tables(connection: Connection, schema: str) -> list[str]:
    query = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY 1")
    return list(connection.scalars(query, {"schema": schema}))


def _sweep(database: Database) -> None:
    """Remove what was killed and has left a scratch place; one of the last day may still be worked in."""
    yesterday = (utcnow() - timedelta(days=1)).strftime(STAMP)
    if database.dialect == "sqlite":
        name = _file(database).name
        for left in _file(database).parent.glob(f"{name}.{SCRATCH}*"):
            found = SCRATCH_NAME.match(left.name.removeprefix(f"{name}."))
            if found is not None and found[1] < yesterday:
                left.unlink(missing_ok=True)
        return
    query = text("SELECT nspname FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = :comment")
    with database.engine.connect() as connection:
        names = list(connection.scalars(query, {"comment": COMMENT}))
    old = [name for name in names if (found := SCRATCH_NAME.match(name)) is not None and found[1] < yesterday]
    _administer(database, *(f"DROP SCHEMA IF EXISTS {name} CASCADE" for name in old))


def _others(database: Database) -> int:
    if database.dialect == "sqlite":
        return 0
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
        " AND pid <> pg_backend_pid()"
    )
    with database.engine.connect() as connection:
        return connection.scalar(text(query), {"name": APPLICATION}) or 0


def _administer(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _file(database: Database) -> Path:
    return Path(str(make_url(database.url).database))


def _remove(file: Path) -> None:
    for ending in ("", *LOGS, ".lock"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
