"""The event feed: append in a transaction, read by sequence, wait for the next.

Sequence numbers are allocated last in a transaction, on PostgreSQL under a lock held to the commit: a reader of
`seq > last` never skips one, and as no row is locked after it, the lock cannot be part of a deadlock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from sqlalchemy import func, make_url, select, text
from sqlalchemy.event import listens_for
from sqlalchemy.orm import Session, SessionTransaction

from workbench.core.database import Database
from workbench.core.tables import Event

CHANNEL = "workbench_events"
PENDING = "workbench_events"  # where a session keeps the events of its transaction
ORDER_LOCK = 0x776F726B  # advisory lock key: "work"
POLL_INTERVAL = 0.05  # seconds between looks at SQLite's data version


def publish(session: Session, topic: str, kind: str, data: dict[str, Any]) -> None:
    """Append an event to `topic` (such as `job:job_01…`) when the caller's transaction commits."""
    session.flush()
    session.info.setdefault(PENDING, []).append(Event(topic=topic, type=kind, data=data))


@listens_for(Session, "before_commit")
def _append(session: Session) -> None:
    pending: list[Event] = session.info.pop(PENDING, [])
    if not pending:
        return
    session.flush()
    postgresql = session.get_bind().dialect.name == "postgresql"
    if postgresql:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ORDER_LOCK})
    session.add_all(pending)
    session.flush()
    if postgresql:
        session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


@listens_for(Session, "after_soft_rollback")
def _forget(session: Session, previous_transaction: SessionTransaction) -> None:
    session.info.pop(PENDING, None)


def after(session: Session, seq: int, topic: str | None = None, limit: int = 1000) -> Sequence[Event]:
    """Return the events that follow `seq`, oldest first."""
    query = select(Event).where(Event.seq > seq).order_by(Event.seq).limit(limit)
    return session.scalars(query if topic is None else query.where(Event.topic == topic)).all()


def newest(session: Session) -> int:
    """Return the sequence number of the newest event, 0 when there is none."""
    return session.scalar(select(func.max(Event.seq))) or 0


class Watcher(Protocol):
    """Waits, in a thread of its own, until something was committed."""

    def wait(self, timeout: float) -> bool:
        """Return True as soon as something may have changed, False after `timeout` seconds."""

    def close(self) -> None:
        """Give the connection back."""


def watch(database: Database) -> Watcher:
    """Open a watcher on a dedicated connection."""
    return SQLiteWatcher(database.url) if database.dialect == "sqlite" else PostgreSQLWatcher(database.url)


class SQLiteWatcher:
    """Looks at SQLite's data version, which changes with every commit of another connection."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(str(make_url(url).database), check_same_thread=False)
        self._seen = self._version()

    def wait(self, timeout: float) -> bool:
        """See `Watcher.wait`."""
        deadline = time.monotonic() + timeout
        while (version := self._version()) == self._seen:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_INTERVAL)
        self._seen = version
        return True

    def close(self) -> None:
        """See `Watcher.close`."""
        self._connection.close()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class PostgreSQLWatcher:
    """Listens on PostgreSQL's channel; connects anew after a loss, and then reports a change."""

    def __init__(self, url: str) -> None:
        self._dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = self._listen()

    def wait(self, timeout: float) -> bool:
        """See `Watcher.wait`."""
        try:
            return any(True for _ in self._connection.notifies(timeout=timeout, stop_after=1))
        except psycopg.OperationalError:
            time.sleep(min(timeout, 1.0))
            self._reconnect()
            return True

    def close(self) -> None:
        """See `Watcher.close`."""
        self._connection.close()

    def _reconnect(self) -> None:
        self._connection.close()
        try:
            self._connection = self._listen()
        except psycopg.OperationalError:
            return

    def _listen(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=3)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection
