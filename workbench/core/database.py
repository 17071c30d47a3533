"""Engines and sessions on SQLite and PostgreSQL; column types that mean the same on both."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import JSON, Connection, DateTime, Dialect, MetaData, TypeDecorator, inspect, make_url
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from workbench.core.engines import (
    CONNECT_TIMEOUT,
    DatabaseAway,
    DatabaseBusy,
    dialect_of,
    explained,
    explaining,
    postgresql_engine,
    sqlite_engine,
    where,
)
from workbench.core.errors import Conflict

POOL_SIZE = 8  # connections, and threads that serve plain routes
UPGRADE_TRIES = 5  # at a migration that others keep from a table
UPGRADE_LOCK = 0x75706772  # advisory lock key: "upgr"
#: Table in the target of an unfinished transfer (`workbench db transfer`), which nothing else may use.
TRANSFER_MARKER = "workbench_transfer"
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_upgrading = threading.Lock()  # Alembic runs once a process at a time


class DatabaseNewer(Conflict):
    """The database was upgraded by a newer version."""

    code = "database.newer"


class DatabaseOutdated(Conflict):
    """The database waits for its upgrade."""

    code = "database.outdated"


class DatabaseUnfinished(Conflict):
    """The database is the target of an unfinished transfer."""

    code = "database.unfinished_transfer"


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
    """One database: short read and write transactions, and its migrations.

    `schema` is the PostgreSQL schema that holds the tables; None: the database's own search path.
    """

    def __init__(self, url: str, pool_size: int = POOL_SIZE, schema: str | None = None) -> None:
        self.url = url
        self.dialect = cast(Literal["sqlite", "postgresql"], dialect_of(url))
        self.pool_size = pool_size
        sqlite = self.dialect == "sqlite"
        self.engine = sqlite_engine(url, pool_size) if sqlite else postgresql_engine(url, pool_size, schema)
        self._writer = self.engine.execution_options(workbench_writer=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads.

        Raises `DatabaseAway`, here and in `write`, when the database does not answer, is busy or has no room.
        """
        with explaining(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that writes: committed at the end, rolled back on an error.

        On SQLite it begins with BEGIN IMMEDIATE, so that two writers wait for each other instead of failing.
        """
        with explaining(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def prepare(self) -> None:
        """Make sure that the database can be used as it is: what every process does before it uses one.

        A SQLite file is ours alone, and is upgraded by itself; so is an empty PostgreSQL database. One that others may
        use is upgraded by who looks after it: raises `DatabaseOutdated`. Raises `DatabaseNewer`, `DatabaseUnfinished`.
        """
        with explaining():
            found = self.revision()
            if self.dialect == "postgresql" and found is not None and found != head():
                if not self.knows(found):
                    raise DatabaseNewer(
                        f"The database {where(self.url)} is at revision {found}, which belongs to a newer workbench;"
                        " upgrade this one."
                    )
                raise DatabaseOutdated(
                    f"The database {where(self.url)} is at revision {found}, and this workbench needs {head()}:"
                    " back it up (`workbench db backup FILE`), then run `workbench db upgrade`."
                )
            self.upgrade()

    def upgrade(self, revision: str = "head") -> None:
        """Bring the schema to a revision; safe when several processes call it at once.

        Each migration is one transaction: a process that dies leaves the last whole one. Raises `DatabaseNewer`.
        """
        with _upgrading, explaining(), _upgrade_lock(self.url, self.dialect), self._writer.connect() as connection:
            if revision == "head" and TRANSFER_MARKER in inspect(connection).get_table_names():
                raise DatabaseUnfinished(
                    f"The database {where(self.url)} is the target of a transfer that has not finished;"
                    " run `workbench db transfer` again to finish it."
                )
            connection.rollback()
            with _unhurried(connection, self.dialect):
                _migrate(connection, revision)

    def revision(self) -> str | None:
        """Return the revision of the schema, None for a database without tables of ours."""
        with explaining(), self.engine.connect() as connection:
            return self.revision_of(connection)

    @staticmethod
    def revision_of(connection: Connection) -> str | None:
        """Return the revision of the schema that a connection sees."""
        return MigrationContext.configure(connection).get_current_revision()

    def knows(self, revision: str) -> bool:
        """Tell whether a revision is one of this workbench's."""
        try:
            found = ScriptDirectory.from_config(migrations()).get_revision(revision)
            return found is not None and found.revision == revision  # not a word such as `head`
        except CommandError:
            return False

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def head() -> str:
    """Return the revision that this workbench needs."""
    return str(ScriptDirectory.from_config(migrations()).get_current_head())


def migrations() -> Config:
    """Return Alembic's configuration of our migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    return config


def _migrate(connection: Connection, revision: str) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    for left in reversed(range(UPGRADE_TRIES)):
        try:
            command.upgrade(config, revision)
            break
        except CommandError as error:
            raise DatabaseNewer(f"The database belongs to a newer workbench than this one: {error}.") from error
        except OperationalError as error:  # a table was in use for longer than the lock's time-out
            if left == 0 or not isinstance(explained(error), DatabaseBusy):
                raise
            connection.rollback()


@contextmanager
def _unhurried(connection: Connection, dialect: str) -> Iterator[None]:
    """Let migrations take their time, and rebuild SQLite's tables without their references in the way."""
    settings = {
        "postgresql": ("SET statement_timeout = 0", "RESET statement_timeout"),
        "sqlite": ("PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys=ON"),
    }
    before, after = settings[dialect]
    _set(connection, before)
    try:
        yield
    except BaseException:
        connection.invalidate()  # its settings do not go back into the pool
        raise
    _set(connection, after)


def _set(connection: Connection, statement: str) -> None:
    """Run a statement outside any transaction of ours: SQLite would ignore it inside one."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statement)
    driver.commit()


def _upgrade_lock(url: str, dialect: str) -> AbstractContextManager[object]:
    if dialect == "postgresql":
        return _postgresql_lock(url)
    path = make_url(url).database
    return _file_lock(Path(f"{path}.lock")) if path else nullcontext()


@contextmanager
def _postgresql_lock(url: str) -> Iterator[None]:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT)
    except psycopg.OperationalError as error:
        raise DatabaseAway(f"PostgreSQL at {where(url)} does not answer: {str(error).strip()}.") from error
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (UPGRADE_LOCK,))
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
