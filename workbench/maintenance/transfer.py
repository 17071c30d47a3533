"""Moves a home's SQLite database to PostgreSQL: every row, with equal checksums on both sides, and can be broken off.

The source is opened for reading only. The target carries a marker until every table was compared; a run that finds its
own marker goes on behind the last rows that were committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from workbench.accounts import audit
from workbench.core.database import TRANSFER_MARKER, Database, DatabaseOutdated, head
from workbench.core.engines import DatabaseAway, explaining, where
from workbench.core.errors import Conflict, Invalid, NotFound
from workbench.core.settings import Settings
from workbench.maintenance import loading
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import Progress, count, entry_of, quiet, snapshot
from workbench.maintenance.places import alone, check_alone
from workbench.maintenance.rows import Row, Shape, Value
from workbench.maintenance.schemas import TableEntry, TransferResult
from workbench.migrations.tables import METADATA

CHUNK = 10_000  # rows that are copied and remembered in one transaction
LOCK = 0x6D6F7665  # advisory lock key: "move"
SHOWN = 10  # rows that a refusal names

MARKER = sa.Table(
    TRANSFER_MARKER,
    sa.MetaData(),
    #: A table's name; the empty name stands for the transfer itself.
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    #: Of a table: the key of the last row that was copied. Of the transfer: the source's checksums and references.
    sa.Column("state", sa.JSON, nullable=False),
)


class NotTransferable(Invalid):
    """Rows of the source cannot be carried over."""

    code = "transfer.source"


class TargetNotEmpty(Conflict):
    """The target is neither empty nor an unfinished target of this very transfer."""

    code = "transfer.target"


class TransferDiffers(Conflict):
    """The target does not hold what the source holds."""

    code = "transfer.differs"


class NoSource(NotFound):
    """There is no SQLite database to move."""

    code = "transfer.no_source"


def run(settings: Settings, to: str, *, dry_run: bool = False, progress: Progress = quiet) -> TransferResult:
    """Copy the home's SQLite database into an empty PostgreSQL database, and compare every table.

    `dry_run` reads and checks everything on both sides, and writes nothing. Raises `InUse`, `NotTransferable`,
    `TargetNotEmpty`, `TransferDiffers`.
    """
    begun = time.monotonic()
    file = _source(settings)
    source = Database(_read_only(file), pool_size=1)
    target = Database(Settings(home=settings.home, database_url=to).resolved_database_url(), pool_size=2)
    try:
        if target.dialect != "postgresql":
            raise NotTransferable("A transfer goes from SQLite to PostgreSQL: --to postgresql://user@host/name.")
        with explaining(), alone(settings, source), _claimed(target) as connection, snapshot(source) as reading:
            check_alone(settings, target, own=1)
            _check_source(source, reading)
            known = [Shape.of(table) for table in METADATA.sorted_tables]
            full = _check_target(connection, target)
            total = sum(count(reading, shape) for shape in known)
            entries = _survey(reading, known, total, progress)
            resumed, audited = 0, 0
            if full:  # what an earlier transfer has finished is what is wanted
                _check_equal(connection, known, entries, full)
                resumed = total
            elif not dry_run:
                resumed = _prepare(connection, target, known, entries)
                _copy(connection, reading, known, total, progress)
                audited = _finish(connection, reading, known, entries, progress)
            return TransferResult(
                target=where(target.url),
                tables=entries,
                rows=total,
                resumed_rows=resumed,
                audit_entries=audited,
                seconds=round(time.monotonic() - begun, 3),
                dry_run=dry_run,
            )
    finally:
        source.close()
        target.close()


def _source(settings: Settings) -> Path:
    """Return the SQLite file that the home uses."""
    url = make_url(settings.resolved_database_url())
    if url.get_backend_name() != "sqlite":
        raise NotTransferable(f"The home uses {where(settings.resolved_database_url())} already, which is PostgreSQL.")
    file = Path(str(url.database))
    if not file.exists():
        raise NoSource(f"There is no SQLite database {file} to move.")
    return file


@contextmanager
def _claimed(target: Database) -> Iterator[Connection]:
    """Hold the target against a second transfer, on a connection that may take its time."""
    try:
        connection = target.engine.connect()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise DatabaseAway(f"PostgreSQL at {where(target.url)} does not answer: {reason}.") from error
    with connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        held = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        if not held:
            raise TargetNotEmpty(f"Another transfer into {where(target.url)} runs; wait for its end.")
        try:
            yield connection
        finally:
            connection.invalidate()


def _check_source(source: Database, reading: Connection) -> None:
    revision = source.revision_of(reading)
    if revision != head():
        raise DatabaseOutdated(
            f"The source is at revision {revision}, and this workbench needs {head()}: run"
            " `workbench db upgrade` first."
        )
    if (found := reading.exec_driver_sql("PRAGMA quick_check").scalar()) != "ok":
        raise NotTransferable(f"The source is damaged ({str(found)[:200]}); restore it from a backup first.")
    loading.check_references(reading)


def _check_target(connection: Connection, target: Database) -> str:
    """Raise `TargetNotEmpty` for a target of others; return the name of a table that holds rows, if one does.

    An unfinished target, which carries our own marker, may hold rows.
    """
    there = set(sa.inspect(connection).get_table_names())
    revision = target.revision_of(connection)
    connection.rollback()
    if not there:
        return ""
    if TRANSFER_MARKER in there and revision in (None, head()):
        return ""
    others = sorted(there - {*METADATA.tables, "alembic_version", TRANSFER_MARKER})
    if others:
        raise TargetNotEmpty(f"The target holds tables that are not ours ({', '.join(others[:3])}); give an empty one.")
    if revision != head():
        raise TargetNotEmpty(f"The target is at revision {revision} and the source at {head()}; give an empty one.")
    full = [name for name in sorted(there & set(METADATA.tables)) if _holds_rows(connection, name)]
    connection.rollback()
    return full[0] if full else ""


def _check_equal(connection: Connection, known: list[Shape], entries: list[TableEntry], full: str) -> None:
    """Raise `TargetNotEmpty` unless a target that holds rows holds exactly the source's."""
    with connection.begin():
        for shape, entry in zip(known, entries, strict=True):
            same = count(connection, shape) == entry.rows
            if not same or entry_of(shape, canonical.digest(connection, shape)) != entry:
                raise TargetNotEmpty(f"The target holds rows already ({full}), which are others; give an empty one.")


def _survey(reading: Connection, known: list[Shape], total: int, progress: Progress) -> list[TableEntry]:
    """Read every row of the source: return the checksums, or refuse what PostgreSQL would not take."""
    problems: list[str] = []
    entries, done = [], 0
    for shape in known:

        def look(row: Row, line: bytes, shape: Shape = shape) -> None:
            for column, value in zip(shape.columns, row, strict=True):
                if len(problems) < SHOWN and (problem := column.problem(value)) is not None:
                    problems.append(f"{shape.name} {shape.key_of(row)}: {column.name} {problem}")

        entries.append(entry_of(shape, canonical.digest(reading, shape, look)))
        done += entries[-1].rows
        progress("checked rows", done, total)
    if problems:
        raise NotTransferable(f"PostgreSQL does not take these rows; mend them first. {'; '.join(problems)}.")
    return entries


def _prepare(connection: Connection, target: Database, known: list[Shape], entries: list[TableEntry]) -> int:
    """Mark the target as ours and make its tables; return how many rows an earlier run has left there.

    Rows of a source that has changed since are taken out again.
    """
    wanted = [entry.model_dump() for entry in entries]
    with connection.begin():
        MARKER.create(connection, checkfirst=True)
        whole = connection.execute(sa.select(MARKER).where(MARKER.c.name == "")).one_or_none()
    target.upgrade(head())
    with connection.begin():
        if whole is None:
            state = {"source": wanted, "references": loading.take_references(connection)}
            connection.execute(MARKER.insert().values(name="", rows=0, state=state))
            return 0
        if whole.state["source"] != wanted:
            names = ", ".join(f'"{shape.name}"' for shape in known)
            connection.exec_driver_sql(f"TRUNCATE {names}")
            connection.execute(MARKER.delete().where(MARKER.c.name != ""))
            connection.execute(
                MARKER.update().where(MARKER.c.name == "").values(state=whole.state | {"source": wanted})
            )
        return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(MARKER.c.rows), 0))) or 0)


def _copy(connection: Connection, reading: Connection, known: list[Shape], total: int, progress: Progress) -> None:
    done = 0
    for shape in known:
        rows, last = _left_at(connection, shape)
        done += rows
        for part in loading.batches(canonical.read(reading, shape, last), CHUNK):
            with connection.begin():
                rows += loading.insert(connection, shape, part)
                _remember(connection, shape, rows, shape.key_of(part[-1]))
            done += len(part)
            progress("copied rows", done, total)


def _left_at(connection: Connection, shape: Shape) -> tuple[int, list[Value] | None]:
    with connection.begin():
        found = connection.execute(sa.select(MARKER).where(MARKER.c.name == shape.name)).one_or_none()
        if found is None:
            connection.execute(MARKER.insert().values(name=shape.name, rows=0, state=[]))
            return 0, None
    return found.rows, found.state or None


def _remember(connection: Connection, shape: Shape, rows: int, key: list[Value]) -> None:
    connection.execute(MARKER.update().where(MARKER.c.name == shape.name).values(rows=rows, state=key))


def _finish(
    connection: Connection, reading: Connection, known: list[Shape], entries: list[TableEntry], progress: Progress
) -> int:
    """Bring the references and numbers back, compare every table, follow the audit log; then take the marker away."""
    total, done = sum(entry.rows for entry in entries), 0
    given_out = canonical.sequences(reading, known)
    with connection.begin():
        state = connection.execute(sa.select(MARKER.c.state).where(MARKER.c.name == "")).scalar_one()
        loading.give_references(connection, state["references"])
        loading.set_sequences(connection, known, given_out)
        for shape, entry in zip(known, entries, strict=True):
            found = entry_of(shape, canonical.digest(connection, shape))
            if found != entry:
                raise TransferDiffers(
                    f"The table {entry.name} holds {found.rows} rows with the checksum {found.sha256[:12]}… in the"
                    f" target and {entry.rows} with {entry.sha256[:12]}… in the source; drop the target and start anew."
                )
            done += entry.rows
            progress("compared rows", done, total)
        verdict = audit.verify(Session(connection))
        if not verdict.holds:
            raise TransferDiffers(f"The audit log does not hold at its entry {verdict.broken_at}, in the target.")
        MARKER.drop(connection)
    with connection.begin():
        connection.execute(text("ANALYZE"))
    return verdict.entries


def _read_only(file: Path) -> str:
    database = f"file:{quote(str(file))}?mode=ro"
    return URL.create("sqlite", database=database, query={"uri": "true"}).render_as_string()


def _holds_rows(connection: Connection, name: str) -> bool:
    query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
    return connection.scalar(query) is not None
