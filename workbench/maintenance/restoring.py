"""Restores a backup into a scratch place, compares it there with what was written, and only then swaps it in."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import psycopg
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from workbench.core.clock import utcnow
from workbench.core.database import Database, DatabaseNewer
from workbench.core.engines import APPLICATION, explaining, where
from workbench.core.errors import Conflict, Invalid
from workbench.core.settings import Settings
from workbench.datasets.store import publish
from workbench.jobs.agent import AgentRunning, agent_lock
from workbench.jobs.files import live_servers
from workbench.maintenance import loading
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import Archive, BackupDamaged, Progress, entry_of, quiet, write
from workbench.maintenance.objects import ObjectsDamaged, damage, is_stored, sha256
from workbench.maintenance.schemas import BackupResult, DrillResult, ObjectEntry, RestoreResult
from workbench.migrations.tables import METADATA

STAMP = "%Y%m%dt%H%M%Sz"
SCRATCH = "workbench_"  # how scratch places begin, and the whole of their names
SCRATCH_NAME = re.compile(r"workbench_(?:drill|restore)_(\d{8}t\d{6}z)_[0-9a-f]{8}")
COMMENT = "a scratch place of the workbench"
LOGS = ("-wal", "-shm", "-journal")
#: What either driver raises for rows that do not fit.
UNFIT = (DataError, IntegrityError, ProgrammingError, psycopg.DataError, psycopg.IntegrityError)
SHOWN = 5  # damaged files that a message names
LOCK_WAIT = 2.0  # seconds; a server that looks whether an agent is there holds its lock for an instant


class InUse(Conflict):
    """Something of the workbench still uses the database."""

    code = "database.in_use"


class RestoreDiffers(Invalid):
    """What was restored is not what was backed up."""

    code = "backup.differs"


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
    """Raise `InUse` when a server of the home runs, or others beside our `own` connections use PostgreSQL."""
    if live_servers(settings.home):
        raise InUse(f"A server of {settings.home} runs; end it first: workbench stop --home {settings.home}")
    if (others := _others(database) - own) > 0:
        raise InUse(f"{others} other connections of the workbench use {where(database.url)}; stop them first.")


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


def fill(made: Database, archive: Archive, progress: Progress = quiet) -> None:
    """Put a backup's rows into an empty place under the schema of its time, and compare every table.

    Raises `DatabaseNewer` for a schema that this workbench does not know, `RestoreDiffers` when anything differs.
    """
    manifest = archive.manifest
    if not made.knows(manifest.revision):
        raise DatabaseNewer(f"The backup is of revision {manifest.revision}, which this workbench does not know yet.")
    made.upgrade(manifest.revision)
    with made.engine.begin() as connection:
        _unhurried(connection)
        known = {shape.name: shape for shape in canonical.shapes(connection)}
        if {entry.name: entry.columns for entry in manifest.tables} != {
            shape.name: [column.name for column in shape.columns] for shape in known.values()
        }:
            raise RestoreDiffers("The backup's tables are not those of its revision.")
        taken = loading.take_references(connection)
        done = 0
        for entry in manifest.tables:
            try:
                loading.insert(connection, known[entry.name], archive.rows(entry.name))
            except (LookupError, TypeError, ValueError, AttributeError, *UNFIT) as error:
                raise BackupDamaged(f"Rows of {entry.name} in {archive.path} do not fit the table.") from error
            done += entry.rows
            progress("restored rows", done, manifest.rows)
        loading.give_references(connection, taken)
        loading.set_sequences(connection, known.values(), manifest.sequences)
    compare(made, archive, progress)


def compare(made: Database, archive: Archive, progress: Progress = quiet) -> None:
    """Read every table of a restored database again; raises `RestoreDiffers`, `BrokenReferences`."""
    manifest, done = archive.manifest, 0
    with made.engine.connect() as connection:
        _unhurried(connection)
        known = {shape.name: shape for shape in canonical.shapes(connection)}
        for entry in manifest.tables:
            found = entry_of(known[entry.name], canonical.digest(connection, known[entry.name]))
            if found != entry:
                raise RestoreDiffers(
                    f"The table {entry.name} came back with {found.rows} rows and the checksum {found.sha256[:12]}…,"
                    f" and was backed up with {entry.rows} and {entry.sha256[:12]}…."
                )
            done += entry.rows
            progress("compared rows", done, manifest.rows)
        counting = [shape for shape in known.values() if loading.counts_on(connection, shape)]
        for name, last in canonical.sequences(connection, counting).items():
            if last != manifest.sequences.get(name):
                raise RestoreDiffers(f"The table {name} would count on from {last}, not from where it was.")


def check_objects(archive: Archive, home: Path, progress: Progress = quiet) -> list[ObjectEntry]:
    """Compare every file with its hash, and return those that only the backup has as they should be.

    Raises `ObjectsDamaged`, naming them, when files are in neither place as they should be, and `BackupDamaged` when
    the backup names a file that is none of the workbench's.
    """
    manifest, wrong, words = archive.manifest, [], []
    for number, entry in enumerate(manifest.objects, 1):
        if not is_stored(home, entry.path):
            raise BackupDamaged(f"{archive.path} names a file that is no stored one: {entry.path[:80]}.")
        if manifest.holds_objects:
            archive.check(entry)
        if (problem := damage(home, entry)) is not None:
            wrong.append(entry)
            words.append(f"{entry.path} {problem}")
        progress("files", number, len(manifest.objects))
    if wrong and not manifest.holds_objects:
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        raise ObjectsDamaged(f"Of the {len(manifest.objects)} stored files: {', '.join(words[:SHOWN])}{more}.")
    return wrong


def back_up(settings: Settings, path: Path, *, with_objects: bool = False, progress: Progress = quiet) -> BackupResult:
    """Write a backup of the settings' database while others work, and read it once more."""
    begun = time.monotonic()
    database = Database(settings.resolved_database_url(), pool_size=2)
    try:
        with explaining():
            manifest = write(path, database, settings.home, with_objects=with_objects, progress=progress)
    finally:
        database.close()
    with Archive(path):  # what was written can be read
        pass
    return BackupResult(
        path=str(path),
        size_bytes=path.stat().st_size,
        sha256=sha256(path),
        tables=len(manifest.tables),
        rows=manifest.rows,
        objects=len(manifest.objects),
        missing=len(manifest.missing),
        seconds=round(time.monotonic() - begun, 3),
        removed=[],
    )


def drill(settings: Settings, file: Path | None, progress: Progress = quiet) -> DrillResult:
    """Restore a backup into a scratch place beside the database, compare everything, and leave nothing behind.

    `file`: which backup; None: the newest kept one, or one that is made for the drill. Others go on working.
    """
    begun = time.monotonic()
    database = Database(settings.resolved_database_url(), pool_size=2)
    made_here = None
    try:
        file = file or newest(settings)
        if file is None:
            file = made_here = settings.home / f".drill-{token_hex(8)}.zip"
            write(file, database, settings.home, progress=progress)
        with explaining(), Archive(file) as archive, scratch(database, "drill") as made:
            fill(made, archive, progress)
            restorable = len(check_objects(archive, settings.home, progress))
            return DrillResult(**_figures(archive, begun), restorable=restorable)
    finally:
        database.close()
        if made_here is not None:
            made_here.unlink(missing_ok=True)


def restore(
    settings: Settings, file: Path, *, allow_damaged_objects: bool = False, progress: Progress = quiet
) -> RestoreResult:
    """Replace the database by a backup, after everything was verified; the old one is kept beside it.

    Whatever fails or dies before the end leaves the database as it was. Raises `InUse`, `BackupDamaged`,
    `RestoreDiffers`, `ObjectsDamaged`.
    """
    begun = time.monotonic()
    database = Database(settings.resolved_database_url(), pool_size=2)
    try:
        with explaining(), alone(settings, database), Archive(file) as archive:
            with scratch(database, "restore") as made:
                fill(made, archive, progress)
                made.upgrade()
                wrong = _missing(archive, settings.home, allow_damaged_objects, progress)
                for entry in wrong if archive.manifest.holds_objects else []:
                    archive.extract(entry, settings.home / entry.path)
                made.close()
                check_alone(settings, database)  # a restore takes its time
                kept = _swap_file(database, made) if database.dialect == "sqlite" else _swap(database, made)
            return RestoreResult(**_figures(archive, begun), restorable=len(wrong), kept=kept)
    finally:
        database.close()


def newest(settings: Settings) -> Path | None:
    """Return the home's newest backup: their names are in the order of time."""
    return max(backups(settings), default=None)


def backup_path(settings: Settings) -> Path:
    """Return where a backup that is made now goes."""
    return settings.resolved_backup_folder() / f"{_prefix(settings)}{utcnow().strftime(STAMP)}.zip"


def backups(settings: Settings) -> list[Path]:
    """Return the backups that were made of a home by themselves or by a button, the oldest first."""
    made = re.compile(rf"{_prefix(settings)}\d{{8}}t\d{{6}}z\.zip")
    return sorted(path for path in settings.resolved_backup_folder().glob("*.zip") if made.fullmatch(path.name))


def parts(settings: Settings) -> list[Path]:
    """Return what killed backups of a home have left in its folder of backups."""
    return list(settings.resolved_backup_folder().glob(f".{_prefix(settings)}*.part"))


def _prefix(settings: Settings) -> str:
    """Homes may share a folder of backups."""
    return f"workbench-{hashlib.sha256(str(settings.home).encode()).hexdigest()[:6]}-"


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


def _missing(archive: Archive, home: Path, allow: bool, progress: Progress) -> list[ObjectEntry]:
    try:
        return check_objects(archive, home, progress)
    except ObjectsDamaged as error:
        if not allow:
            raise ObjectsDamaged(
                f"{error.detail} Nothing was restored; bring them back, take a backup made with --objects, or restore"
                " without them: --allow-damaged-objects."
            ) from error
        return []


def _figures(archive: Archive, begun: float) -> dict[str, Any]:
    manifest = archive.manifest
    return {
        "path": str(archive.path),
        "made_at": manifest.created_at,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "objects": len(manifest.objects),
        "missing": len(manifest.missing),
        "seconds": round(time.monotonic() - begun, 3),
    }


def _others(database: Database) -> int:
    if database.dialect == "sqlite":
        return 0
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
        " AND pid <> pg_backend_pid()"
    )
    with database.engine.connect() as connection:
        return connection.scalar(text(query), {"name": APPLICATION}) or 0


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


def _swap(database: Database, made: Database) -> str | None:
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


def _unhurried(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _administer(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _file(database: Database) -> Path:
    return Path(str(make_url(database.url).database))


def _remove(file: Path) -> None:
    for ending in ("", *LOGS, ".lock"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
