"""A backup: one zip file with a table's lines each, the manifest, on demand the stored files, and a closing checksum.

The zip's comment is the hex SHA-256 of every byte before it, so that no change goes unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

from sqlalchemy import Connection, func, select, table, text

import workbench
from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.errors import Conflict, Invalid, NotFound
from workbench.datasets.store import publish
from workbench.maintenance import rows as canonical
from workbench.maintenance.objects import Hashes, ObjectsDamaged, referred
from workbench.maintenance.rows import Digest, Row, Shape
from workbench.maintenance.schemas import FORMAT, BackupManifest, ObjectEntry, TableEntry

MANIFEST = "manifest.json"
CHECKSUM_BYTES = 64
CHUNK = 1 << 20

#: Told what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


class NoBackup(NotFound):
    """There is no such backup."""

    code = "backup.not_found"


class BackupDamaged(Invalid):
    """The backup was changed or is not whole."""

    code = "backup.damaged"


class BackupExists(Conflict):
    """There is a file of this name already."""

    code = "backup.exists"


class BackupTooNew(Conflict):
    """The backup was made by a newer workbench."""

    code = "backup.too_new"


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


def write(
    path: Path, database: Database, home: Path, *, with_objects: bool = False, progress: Progress = quiet
) -> BackupManifest:
    """Write a backup of one moment while others read and write; it is there whole or not at all, for its owner only."""
    if path.exists():
        raise BackupExists(f"There is a file {path} already; give the backup another name.")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                manifest = _fill(archive, database, home, with_objects, progress)
                archive.comment = b"0" * CHECKSUM_BYTES
            file.flush()
            checksum = _checksum(file)
            file.seek(-CHECKSUM_BYTES, os.SEEK_END)
            file.write(checksum.encode())
        publish(part, path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _fill(
    archive: zipfile.ZipFile, database: Database, home: Path, with_objects: bool, progress: Progress
) -> BackupManifest:
    revision = database.revision()
    if revision is None:
        raise NoBackup("The database holds nothing of the workbench yet, so there is nothing to back up.")
    with snapshot(database) as connection:
        known = canonical.shapes(connection)
        total, done = sum(count(connection, shape) for shape in known), 0
        entries = []
        for shape in known:
            with archive.open(_member(shape.name), "w", force_zip64=True) as lines:

                def put(row: Row, line: bytes, lines: Any = lines) -> None:
                    lines.write(line)

                digest = canonical.digest(connection, shape, put)
            done += digest.rows
            progress("rows", done, total)
            entries.append(entry_of(shape, digest))
        paths = referred(connection, home)
        given_out = canonical.sequences(connection, known)
    objects = _objects(archive, home, paths, with_objects, progress)
    there = {entry.path for entry in objects}
    manifest = BackupManifest(
        format=FORMAT,
        workbench=workbench.__version__,
        revision=revision,
        engine=database.dialect,
        created_at=utcnow(),
        tables=entries,
        sequences=given_out,
        objects=objects,
        missing=[path for path in paths if path not in there],
        holds_objects=with_objects,
    )
    archive.writestr(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _objects(
    archive: zipfile.ZipFile, home: Path, paths: list[str], with_objects: bool, progress: Progress
) -> list[ObjectEntry]:
    hashes, found = Hashes(home), []
    for entry in hashes.entries(paths):
        found.append(entry)
        progress("files", len(found), len(paths))
        if with_objects:
            _put(archive, home, entry)
    hashes.save(paths)
    return found


def _put(archive: zipfile.ZipFile, home: Path, entry: ObjectEntry) -> None:
    """Put a file into a backup; raises `ObjectsDamaged` when its content is not what it was when it was hashed."""
    member = zipfile.ZipInfo(_object(entry.path))
    with (home / entry.path).open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
        found = _copied(source, target)
    if found != entry.sha256:
        raise ObjectsDamaged(f"The stored file {entry.path} was changed since it was written; bring it back first.")


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream, and return the hex SHA-256 of what went through."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


class Archive:
    """A backup that is read; every byte was compared with its checksum when it was opened.

    Raises `NoBackup`, `BackupDamaged` (naming what was changed) or `BackupTooNew`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise NoBackup(f"There is no backup {path}.")
        with path.open("rb") as file:
            checksum = _checksum(file)
            whole = file.read(CHECKSUM_BYTES) == checksum.encode()
        if not whole:
            raise BackupDamaged(f"The backup {path} was changed or is not whole: {_diagnosis(path)}; take another one.")
        try:
            self._zip = zipfile.ZipFile(path)
            told = json.loads(self._zip.read(MANIFEST))
            if told["format"] > FORMAT:
                made_by = str(told["workbench"])[:40]
                raise BackupTooNew(f"{path} was made by a newer workbench ({made_by}); upgrade this one first.")
            self.manifest = BackupManifest.model_validate(told)
        except (zipfile.BadZipFile, LookupError, TypeError, ValueError, RecursionError) as error:
            raise BackupDamaged(f"{path} is not a backup that the workbench has written.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def rows(self, name: str) -> Iterator[Row]:
        """Yield a table's rows."""
        try:
            with self._zip.open(_member(name)) as lines:
                for line in lines:
                    yield json.loads(line)
        except (LookupError, ValueError, RecursionError) as error:
            raise BackupDamaged(f"The table {name} of {self.path} cannot be read.") from error

    def extract(self, entry: ObjectEntry, target: Path) -> None:
        """Write a stored file to where it belongs, whole and as its entry says, or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                self._check(entry, file)
            publish(part, target)
        finally:
            part.unlink(missing_ok=True)

    def check(self, entry: ObjectEntry) -> None:
        """Raise `BackupDamaged` unless the backup holds a stored file as its entry says."""
        with open(os.devnull, "wb") as nowhere:
            self._check(entry, nowhere)

    def _check(self, entry: ObjectEntry, target: IO[bytes]) -> None:
        try:
            with self._zip.open(_object(entry.path)) as content:
                found = _copied(content, target)
        except LookupError as error:
            raise BackupDamaged(f"The backup {self.path} lacks the stored file {entry.path}.") from error
        if found != entry.sha256:
            raise BackupDamaged(f"The backup {self.path} does not hold the stored file {entry.path} as it says.")


def _diagnosis(path: Path) -> str:
    """Name the first part of a damaged backup that is not what was written. Anything may go wrong in one."""
    what = "its directory"
    try:
        with zipfile.ZipFile(path) as archive:
            what = f"its {MANIFEST}"
            manifest = BackupManifest.model_validate_json(archive.read(MANIFEST))
            parts = [(f"its table {one.name}", _member(one.name), one.sha256) for one in manifest.tables]
            if manifest.holds_objects:
                parts += [(f"its file {one.path}", _object(one.path), one.sha256) for one in manifest.objects]
            for what, member, sha256 in parts:
                with archive.open(member) as content:
                    if hashlib.file_digest(content, "sha256").hexdigest() != sha256:  # type: ignore[arg-type]
                        return what
            return "its directory or its closing checksum"
    except Exception:
        return what


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """Open a connection that sees one moment of the database, however long it reads."""
    postgresql = database.dialect == "postgresql"
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if postgresql else {}
    with database.engine.connect() as plain:
        connection = plain.execution_options(**options)
        driver: Any = connection.connection.driver_connection
        if postgresql:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        else:
            canonical.whole_texts(driver)
        try:
            yield connection
        finally:
            connection.rollback()
            if not postgresql:
                driver.text_factory = str


def count(connection: Connection, shape: Shape) -> int:
    """Return how many rows a table has."""
    return connection.scalar(select(func.count()).select_from(table(shape.name))) or 0


def entry_of(shape: Shape, digest: Digest) -> TableEntry:
    """Return what a backup or a transfer says of a table."""
    names = [column.name for column in shape.columns]
    return TableEntry(name=shape.name, columns=names, rows=digest.rows, sha256=digest.sha256)


def _checksum(file: Any) -> str:
    """Return the hex SHA-256 of a file but its last bytes."""
    left = file.seek(0, os.SEEK_END) - CHECKSUM_BYTES
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0 and (chunk := file.read(min(left, CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _member(name: str) -> str:
    return f"tables/{name}.jsonl"


def _object(path: str) -> str:
    return f"objects/{path}"
