"""Engines and sessions on SQLite and PostgreSQL; column types that mean the same on both."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session

from workbench.core.errors import Conflict

POOL_SIZE = 8  # connections, and threads that serve plain routes
BUSY_TIMEOUT = 10_000  # milliseconds a SQLite writer waits for another
UPGRADE_LOCK = 0x75706772  # advisory lock key: "upgr"
POSTGRESQL_OPTIONS = (
    "-c statement_timeout=15000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000 -c timezone=UTC"
)
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class DatabaseNewer(Conflict):
    """The database was upgraded by a newer version."""

    code = "database.newer"


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times and store UTC."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime was given; use workbench.core.clock.utcnow()")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware datetime also from SQLite."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: A JSON document; None is SQL NULL on both stores.
JSONColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Database:
    """One database: short read and write transactions, and its migrations."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.dialect = cast(Literal["sqlite", "postgresql"], make_url(url).get_backend_name())
        self.engine = _sqlite_engine(url) if self.dialect == "sqlite" else _postgresql_engine(url)
        self._writer = self.engine.execution_options(workbench_writer=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that writes: committed at the end, rolled back on an error.

        On SQLite it begins with BEGIN IMMEDIATE, so that two writers wait for each other instead of failing.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def upgrade(self) -> None:
        """Bring the schema to this version; safe when several processes call it at once."""
        with _upgrade_lock(self.url, self.dialect), self.engine.connect() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DatabaseNewer(f"The database belongs to a newer workbench than this one: {error}.") from error

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _upgrade_lock(url: str, dialect: str) -> AbstractContextManager[object]:
    if dialect == "postgresql":
        return _postgresql_lock(url)
    path = make_url(url).database
    return _file_lock(Path(f"{path}.lock")) if path else nullcontext()


@contextmanager
def _postgresql_lock(url: str) -> Iterator[None]:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=3) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (UPGRADE_LOCK,))
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _postgresql_engine(url: str) -> Engine:
    arguments = {"connect_timeout": 3, "options": POSTGRESQL_OPTIONS, "keepalives_idle": 5, "tcp_user_timeout": 8000}
    return create_engine(
        url, pool_size=POOL_SIZE, max_overflow=4, pool_pre_ping=True, pool_recycle=1800, connect_args=arguments
    )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=4, connect_args={"timeout": BUSY_TIMEOUT / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_TIMEOUT}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writer = connection.get_execution_options().get("workbench_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")
