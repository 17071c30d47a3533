from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import StatementError

from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.tables import Event, IdempotencyKey

UPGRADE = "import sys; from workbench.core.database import Database; Database(sys.argv[1]).upgrade()"


def remember(database: Database, key: str, answer: object, at: datetime | None = None) -> None:
    with database.write() as session:
        session.add(IdempotencyKey(user_id="ada", key=key, request_sha256="", answer=answer, at=at or utcnow()))


def recalled(database: Database, key: str) -> IdempotencyKey:
    with database.read() as session:
        return session.get_one(IdempotencyKey, ("ada", key))


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        remember(database, "k", 1, datetime(2026, 11, 22))


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=8)), timezone(-timedelta(hours=5, minutes=30))])
def test_times_come_back_in_utc(database: Database, zone: timezone) -> None:
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=zone)
    remember(database, "k", 1, at)
    found = recalled(database, "k").at
    assert (found, found.utcoffset()) == (at, timedelta(0))


def test_times_compare_in_the_database(database: Database) -> None:
    at = datetime(2026, 11, 22, 9, tzinfo=timezone(timedelta(hours=8)))
    remember(database, "k", 1, at)
    with database.read() as session:
        later = session.scalars(select(IdempotencyKey.key).where(IdempotencyKey.at > at - timedelta(seconds=1))).all()
        earlier = session.scalars(select(IdempotencyKey.key).where(IdempotencyKey.at < at)).all()
    assert (later, earlier) == (["k"], [])


def test_a_json_document_comes_back_as_it_was(database: Database) -> None:
    document = {"text": "café 数据 \u2028", "numbers": [1, 2.5, 1e-300, 2**53], "nothing": None, "yes": True}
    remember(database, "k", document)
    assert recalled(database, "k").answer == document


def test_no_json_document_is_null_and_not_the_word_null(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)not.null"):
        remember(database, "k", None)


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(Event(topic="t", type="x", data={}))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as session:
        assert session.scalars(select(Event)).all() == []


def test_what_is_read_stays_usable_after_the_session(database: Database) -> None:
    remember(database, "k", {"a": 1})
    assert recalled(database, "k").answer == {"a": 1}


def count_up(database: Database) -> None:
    """Read, modify and write a number; on PostgreSQL the row is locked, on SQLite the writer is alone."""
    with database.write() as session:
        row = session.scalars(select(IdempotencyKey).with_for_update()).one()
        row.answer = {"count": row.answer["count"] + 1}


def test_writers_that_read_first_lose_nothing(database: Database) -> None:
    remember(database, "k", {"count": 0})
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: count_up(database), range(60)))
    assert recalled(database, "k").answer == {"count": 60}


def test_a_reader_is_not_held_up_by_a_writer(database: Database) -> None:
    remember(database, "k", {"count": 0})
    with database.write() as session:
        session.get_one(IdempotencyKey, ("ada", "k")).answer = {"count": 1}
        session.flush()
        assert recalled(database, "k").answer == {"count": 0}
    assert recalled(database, "k").answer == {"count": 1}


def test_sqlite_is_durable_and_checks_references(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.read() as session:
        asked = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "busy_timeout")]
    database.close()
    assert asked == ["wal", 1, 10_000]


def test_many_processes_may_upgrade_at_once(empty_database_url: str) -> None:
    upgrades = [subprocess.Popen([sys.executable, "-c", UPGRADE, empty_database_url]) for _ in range(4)]
    assert [upgrade.wait() for upgrade in upgrades] == [0, 0, 0, 0]
    database = Database(empty_database_url)
    assert "jobs" in inspect(database.engine).get_table_names()
    database.close()


def test_an_upgrade_of_an_upgraded_database_changes_nothing(database: Database) -> None:
    remember(database, "k", 7)
    database.upgrade()
    assert recalled(database, "k").answer == 7


def test_a_broken_postgresql_connection_is_replaced(postgresql_database: str) -> None:
    database = Database(postgresql_database)
    with database.read() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
    other = Database(postgresql_database)
    with other.write() as session:
        assert session.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with database.read() as session:
        assert session.scalar(text("SELECT 1")) == 1
    database.close()
    other.close()
