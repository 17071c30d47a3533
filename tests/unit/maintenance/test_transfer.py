"""What a transfer refuses, how it goes on, and what it leaves. The long runs are in the benchmarks."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hostile
import postgresql
import psycopg
import pytest
from sqlalchemy import func, inspect, make_url, select

from workbench.core.database import TRANSFER_MARKER, Database, DatabaseOutdated, DatabaseUnfinished
from workbench.core.engines import BadDatabaseURL, DatabaseAway, DatabaseForbids
from workbench.core.settings import Settings
from workbench.core.tables import Event
from workbench.jobs.agent import agent_lock
from workbench.maintenance import transfer
from workbench.maintenance.loading import BrokenReferences
from workbench.maintenance.places import InUse
from workbench.maintenance.transfer import NoSource, NotTransferable, TargetNotEmpty, TransferDiffers
from workbench.migrations.tables import METADATA

#: Transfers and dies by SIGKILL at the n-th call of a function of the module.
DYING = """
import os, signal, sys
from workbench.core.settings import Settings
from workbench.jobs.agent import agent_lock
from workbench.maintenance import transfer
transfer.CHUNK = 20
function, left = getattr(transfer, sys.argv[1]), int(sys.argv[2])
def dying(*arguments, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*arguments, **named)
setattr(transfer, sys.argv[1], dying)
transfer.run(Settings(), sys.argv[3])
"""


@pytest.fixture
def target(postgresql_url: str) -> Iterator[str]:
    """The URL of a database without tables."""
    with postgresql.empty_database(postgresql_url) as url:
        yield url


def rows(url: str) -> int:
    database = Database(url)
    with database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        tables = [table for table in METADATA.tables.values() if table.name in there]
        found = sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
    database.close()
    return found


def tables(url: str) -> set[str]:
    database = Database(url)
    found = set(inspect(database.engine).get_table_names())
    database.close()
    return found


def test_every_row_arrives_and_the_source_stays(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    total = hostile.fill(sqlite_database, 30)
    sqlite_database.close()
    before = hashlib.sha256((tmp_path / "workbench.db").read_bytes()).hexdigest()
    made = transfer.run(Settings(home=tmp_path), target)
    assert (made.rows, made.audit_entries, made.resumed_rows) == (total, 30, 0)
    assert rows(target) == total
    assert TRANSFER_MARKER not in tables(target)
    assert hashlib.sha256((tmp_path / "workbench.db").read_bytes()).hexdigest() == before
    arrived = Database(target)
    arrived.prepare()
    with arrived.write() as session:
        session.add(Event(topic="t", type="next", data={}))
    with arrived.read() as session:
        assert session.scalar(select(func.max(Event.seq))) == 31
    arrived.close()


def test_a_dry_run_writes_nothing(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    total = hostile.fill(sqlite_database, 5)
    assert transfer.run(Settings(home=tmp_path), target, dry_run=True).rows == total
    assert tables(target) == set()


@pytest.mark.parametrize(
    ("function", "call"),
    [("_prepare", 1), ("_left_at", 1), ("_remember", 1), ("_remember", 9), ("_remember", 40), ("_finish", 1)],
)
def test_a_transfer_that_dies_goes_on(
    function: str, call: int, sqlite_database: Database, target: str, tmp_path: Path
) -> None:
    total = hostile.fill(sqlite_database, 60)
    sqlite_database.close()
    command = [sys.executable, "-c", DYING, function, str(call), target]
    ended = subprocess.run(command, env=os.environ | {"WORKBENCH_HOME": str(tmp_path)})
    assert ended.returncode == -signal.SIGKILL
    if function != "_prepare":
        server = Database(target)
        with pytest.raises(DatabaseUnfinished, match="workbench db transfer"):
            server.prepare()
        server.close()
    copied = rows(target)
    made = transfer.run(Settings(home=tmp_path), target)
    assert (made.rows, made.resumed_rows) == (total, copied)
    assert rows(target) == total


def test_a_source_that_has_changed_since_is_copied_anew(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    hostile.fill(sqlite_database, 60)
    command = [sys.executable, "-c", DYING, "_remember", "9", target]
    subprocess.run(command, env=os.environ | {"WORKBENCH_HOME": str(tmp_path)})
    with sqlite_database.write() as session:
        session.add(Event(topic="t", type="later", data={}))
    made = transfer.run(Settings(home=tmp_path), target)
    assert (made.rows, made.resumed_rows) == (60 * 25 + 1, 0)
    assert rows(target) == made.rows


def test_a_target_that_was_tampered_with_is_not_called_equal(
    sqlite_database: Database, target: str, tmp_path: Path
) -> None:
    hostile.fill(sqlite_database, 60)
    command = [sys.executable, "-c", DYING, "_finish", "1", target]
    subprocess.run(command, env=os.environ | {"WORKBENCH_HOME": str(tmp_path)})
    postgresql.administer(target, "UPDATE events SET topic = 'other' WHERE seq = 7")
    with pytest.raises(TransferDiffers, match="table events"):
        transfer.run(Settings(home=tmp_path), target)
    assert TRANSFER_MARKER in tables(target)


def test_a_target_that_is_not_empty_is_refused(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    full = Database(target)
    full.prepare()
    with full.write() as session:
        session.add(Event(topic="t", type="there", data={}))
    full.close()
    with pytest.raises(TargetNotEmpty, match="rows already"):
        transfer.run(Settings(home=tmp_path), target)
    assert rows(target) == 1


def test_a_transfer_that_is_done_is_found_to_be_done(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    """A run that died before it said so, or one that shall switch now."""
    hostile.fill(sqlite_database, 4)
    transfer.run(Settings(home=tmp_path), target)
    made = transfer.run(Settings(home=tmp_path), target)
    assert (made.rows, made.resumed_rows) == (100, 100)
    postgresql.administer(target, "UPDATE events SET topic = 'other' WHERE seq = 2")
    with pytest.raises(TargetNotEmpty, match="which are others"):
        transfer.run(Settings(home=tmp_path), target)


def test_the_source_is_the_database_that_the_home_uses(
    sqlite_database: Database, target: str, postgresql_url: str, tmp_path: Path
) -> None:
    hostile.fill(sqlite_database, 3)
    elsewhere = tmp_path / "elsewhere.db"
    other = Database(f"sqlite:///{elsewhere}")
    other.prepare()
    other.close()
    assert transfer.run(Settings(home=tmp_path, database_url=f"sqlite:///{elsewhere}"), target).rows == 0
    with pytest.raises(NotTransferable, match="already, which is PostgreSQL"):
        transfer.run(Settings(home=tmp_path, database_url=target), postgresql_url)


def test_a_target_that_others_use_is_refused(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    server = Database(target)
    server.prepare()
    with server.read() as session:
        session.scalar(select(func.count()).select_from(Event))
        with pytest.raises(InUse, match="other connections"):
            transfer.run(Settings(home=tmp_path), target)
    server.close()


def test_a_user_who_may_not_make_tables_is_told(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    role = f"role_{make_url(target).database}"
    postgresql.administer(target, f"CREATE ROLE {role} LOGIN")
    try:
        url = make_url(target).set(username=role).render_as_string(hide_password=False)
        with pytest.raises(DatabaseForbids, match="permission denied"):
            transfer.run(Settings(home=tmp_path), url)
    finally:
        postgresql.administer(target, f"DROP ROLE {role}")


def test_the_options_of_a_url_are_kept(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    postgresql.administer(target, "CREATE SCHEMA lab")
    transfer.run(Settings(home=tmp_path), f"{target}?options=-csearch_path%3Dlab")
    assert tables(target) == set()
    server = Database(f"{target}?options=-csearch_path%3Dlab")
    server.prepare()
    server.close()


def test_an_upgraded_empty_target_is_taken(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    hostile.fill(sqlite_database, 3)
    empty = Database(target)
    empty.prepare()
    empty.close()
    assert transfer.run(Settings(home=tmp_path), target).rows == 75


def test_a_target_of_others_or_of_another_revision_is_refused(
    sqlite_database: Database, target: str, tmp_path: Path
) -> None:
    postgresql.administer(target, "CREATE TABLE recipes (id int)")
    with pytest.raises(TargetNotEmpty, match="recipes"):
        transfer.run(Settings(home=tmp_path), target)
    postgresql.administer(target, "DROP TABLE recipes")
    old = Database(target)
    old.upgrade("0003")
    old.close()
    with pytest.raises(TargetNotEmpty, match="revision 0003"):
        transfer.run(Settings(home=tmp_path), target)


def test_an_older_source_is_refused(target: str, tmp_path: Path) -> None:
    source = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    source.upgrade("0003")
    source.close()
    with pytest.raises(DatabaseOutdated, match="workbench db upgrade"):
        transfer.run(Settings(home=tmp_path), target)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE events SET topic = 'a' || char(0) || 'b' WHERE seq = 2", r"events \[2\]: topic holds a NUL"),
        ("""UPDATE events SET data = '{"a": "\\u0000"}' WHERE seq = 3""", r"events \[3\]: data holds a NUL"),
        ("UPDATE users SET role = 'a role longer than twenty characters'", "role has 36 characters and may have 20"),
        ("UPDATE jobs SET cpus = 2147483648", "cpus does not fit 32 bits"),
    ],
)
def test_rows_that_postgresql_does_not_take_are_named_before_anything_is_written(
    statement: str, words: str, sqlite_database: Database, target: str, tmp_path: Path
) -> None:
    hostile.fill(sqlite_database, 3)
    with sqlite_database.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    for dry_run in (True, False):
        with pytest.raises(NotTransferable, match=words):
            transfer.run(Settings(home=tmp_path), target, dry_run=dry_run)
    assert tables(target) == set()


def test_references_that_lead_nowhere_are_named(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    hostile.fill(sqlite_database, 3)
    with sqlite_database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("DELETE FROM users")
        connection.invalidate()
    with pytest.raises(BrokenReferences, match="of users that is not there"):
        transfer.run(Settings(home=tmp_path), target)


def test_a_running_home_is_refused(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    with agent_lock(tmp_path), pytest.raises(InUse, match="workbench stop"):
        transfer.run(Settings(home=tmp_path), target)


def test_one_transfer_at_a_time(sqlite_database: Database, target: str, tmp_path: Path) -> None:
    dsn = make_url(target).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (transfer.LOCK,))
        with pytest.raises(TargetNotEmpty, match="Another transfer"):
            transfer.run(Settings(home=tmp_path), target)


@pytest.mark.parametrize(
    ("to", "error", "words"),
    [
        ("sqlite:///other.db", NotTransferable, "from SQLite to PostgreSQL"),
        ("mysql://root@localhost/x", BadDatabaseURL, "not mysql"),
        ("postgresql+psycopg2://root@localhost/x", BadDatabaseURL, "not postgresql.psycopg2"),
        ("no url at all", BadDatabaseURL, "cannot be read"),
        ("postgresql://ada:hunter2@127.0.0.1:1/x", DatabaseAway, "127.0.0.1:1/x does not answer"),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    to: str, error: type[Exception], words: str, sqlite_database: Database, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words) as caught:
        transfer.run(Settings(home=tmp_path), to)
    assert "hunter2" not in str(caught.value)


def test_a_home_without_a_database_has_nothing_to_move(target: str, tmp_path: Path) -> None:
    with pytest.raises(NoSource):
        transfer.run(Settings(home=tmp_path), target)
