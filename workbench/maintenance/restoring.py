"""Restores a backup into a scratch place, compares it there with what was written, and only then swaps it in."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from workbench.core.clock import utcnow
from workbench.core.database import Database, DatabaseNewer
from workbench.core.engines import explaining
from workbench.core.errors import Invalid
from workbench.core.settings import Settings
from workbench.maintenance import loading
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import Archive, BackupDamaged, Progress, entry_of, quiet, write
from workbench.maintenance.objects import ObjectsDamaged, damage, is_stored, sha256
from workbench.maintenance.places import STAMP, alone, check_alone, scratch, swap
from workbench.maintenance.schemas import BackupResult, DrillResult, ObjectEntry, RestoreResult

#: What either driver raises for rows that do not fit.
UNFIT = (DataError, IntegrityError, ProgrammingError, psycopg.DataError, psycopg.IntegrityError)
SHOWN = 5  # damaged files that a message names


class RestoreDiffers(Invalid):
    """What was restored is not what was backed up."""

    code = "backup.differs"


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
                kept = swap(database, made)
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


def _unhurried(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
