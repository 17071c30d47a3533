"""Restores a backup into a scratch place, compares it there with what was written, and only then swaps it in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, make_url, text

from workbench.core.clock import utcnow
from workbench.core.database import Database, DatabaseNewer
from workbench.core.engines import APPLICATION, where
from workbench.core.errors import Conflict, Invalid
from workbench.core.settings import Settings
from workbench.datasets.store import publish
from workbench.jobs.agent import AgentRunning, agent_lock
from workbench.jobs.files import live_servers
from workbench.maintenance import loading
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import Archive, Progress, entry_of, quiet, write
from workbench.maintenance.objects import damage, sha256
from workbench.maintenance.schemas import BackupResult, DrillResult, ObjectEntry, RestoreResult

STAMP = "%Y%m%dt%H%M%Sz"
DRILLS = "drill_"  # how scratch places of drills are called, with their time
SHOWN = 5  # damaged files that a message names
LOCK_WAIT = 2.0  # seconds; a server that looks whether an agent is there holds its lock for an instant


class InUse(Conflict):
    """Something of the workbench still uses the database."""

    code = "database.in_use"


class RestoreDiffers(Invalid):
    """What was restored is not what was backed up."""

    code = "backup.differs"


class ObjectsDamaged(Invalid):
    """Files that the backup refers to are missing or were changed."""

    code = "backup.objects_damaged"


@contextmanager
def alone(settings: Settings, database: Database) -> Iterator[None]:
    """Keep servers and agents away from a home's database; raises `InUse` when one is there."""
    if live_servers(settings.home):
        raise InUse(f"A server of {settings.home} runs; end it first: workbench stop --home {settings.home}")
    try:
        with agent_lock(settings.home, timeout=LOCK_WAIT):
            if others := _others(database):
                raise InUse(f"{others} other connections of the workbench use {where(database.url)}; stop them first.")
            yield
    except AgentRunning as error:
        raise InUse(f"An agent of {settings.home} runs; end it first: workbench stop --home {settings.home}") from error


@contextmanager
def scratch(database: Database, name: str) -> Iterator[Database]:
    """Make an empty place beside a database: another file, or another schema. Nothing of it is left afterwards."""
    if database.dialect == "sqlite":
        file = _file(database).with_name(f"{_file(database).name}.{name}")
        _remove(file)
        made = Database(f"sqlite:///{file}", pool_size=2)
    else:
        _administer(database, f"DROP SCHEMA IF EXISTS {name} CASCADE", f"CREATE SCHEMA {name}")
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
            loading.insert(connection, known[entry.name], archive.rows(entry.name))
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
            if last != manifest.sequences[name]:
                raise RestoreDiffers(
                    f"The table {name} would count on from {last}, not from {manifest.sequences[name]}."
                )


def check_objects(archive: Archive, home: Path, progress: Progress = quiet) -> list[ObjectEntry]:
    """Compare every file with its hash, and return those that only the backup has as they should be.

    Raises `ObjectsDamaged`, naming them, when files are in neither place as they should be.
    """
    manifest, wrong, words = archive.manifest, [], []
    for number, entry in enumerate(manifest.objects, 1):
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
        file = file or newest(settings.resolved_backup_folder())
        if file is None:
            file = made_here = settings.home / f".drill-{utcnow().strftime(STAMP)}.zip"
            write(file, database, settings.home, progress=progress)
        _sweep(database)
        with Archive(file) as archive, scratch(database, f"{DRILLS}{utcnow().strftime(STAMP)}") as made:
            fill(made, archive, progress)
            check_objects(archive, settings.home, progress)
            return DrillResult(**_figures(archive, begun))
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
        with alone(settings, database), Archive(file) as archive:
            stamp = utcnow().strftime(STAMP)
            with scratch(database, "restoring") as made:
                fill(made, archive, progress)
                made.upgrade()
                wrong = _missing(archive, settings.home, allow_damaged_objects, progress)
                for entry in wrong if archive.manifest.holds_objects else []:
                    archive.extract(entry, settings.home / entry.path)
                made.close()
                kept = _swap_file(database, made, stamp) if database.dialect == "sqlite" else _swap(database, stamp)
            return RestoreResult(**_figures(archive, begun), kept=kept)
    finally:
        database.close()


def newest(folder: Path) -> Path | None:
    """Return the newest backup of a folder: their names are in the order of time."""
    return max(backups(folder), default=None)


def backups(folder: Path) -> list[Path]:
    """Return the backups that were made into a folder by themselves or by a button."""
    return sorted(folder.glob("workbench-*.zip"))


def _sweep(database: Database) -> None:
    """Remove what drills that were killed have left; one of the last day may still go on."""
    oldest = f"{DRILLS}{(utcnow() - timedelta(days=1)).strftime(STAMP)}"
    if database.dialect == "sqlite":
        name = _file(database).name
        for left in _file(database).parent.glob(f"{name}.{DRILLS}*"):
            if left.name.removeprefix(f"{name}.") < oldest:
                left.unlink(missing_ok=True)
        return
    with database.engine.connect() as connection:
        query = text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, :drills)")
        found = list(connection.scalars(query, {"drills": DRILLS}))
    _administer(database, *(f"DROP SCHEMA IF EXISTS {name} CASCADE" for name in found if name < oldest))


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


def _swap_file(database: Database, made: Database, stamp: str) -> str | None:
    """Give the restored file the database's name in one step; the old file keeps its content under another."""
    file, fresh = _file(database), _file(made)
    for one in (database, made):
        if _file(one).exists():
            with one.engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        one.close()
    kept = None
    if file.exists():
        if (log := file.with_name(f"{file.name}-wal")).exists() and log.stat().st_size:
            raise InUse(f"Something else has {file} open; end it first.")
        kept = file.with_name(f"{file.name}.before-{stamp}")
        kept.hardlink_to(file)
    for ending in ("-wal", "-shm"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
    publish(fresh, file)
    return str(kept) if kept is not None else None


def _swap(database: Database, stamp: str) -> str | None:
    """Move the old tables to a schema of their own and the restored ones to their place, in one transaction."""
    with database.engine.begin() as connection:
        home = connection.scalar(text("SELECT current_schema()"))
        old, fresh = _tables(connection, str(home)), _tables(connection, "restoring")
        kept = f"before_{stamp}" if old else None
        if kept is not None:
            connection.exec_driver_sql(f"CREATE SCHEMA {kept}")
        for table in old:
            connection.exec_driver_sql(f'ALTER TABLE "{home}"."{table}" SET SCHEMA {kept}')
        for table in fresh:
            connection.exec_driver_sql(f'ALTER TABLE restoring."{table}" SET SCHEMA "{home}"')
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
    for ending in ("", "-wal", "-shm", "-journal", ".lock"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
