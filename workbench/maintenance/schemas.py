"""What a backup says of itself, and what is told of the database."""

from __future__ import annotations

from typing import Literal

from workbench.core.schemas import Schema, Time
from workbench.jobs.schemas import Job

FORMAT: Literal[1] = 1


class TableEntry(Schema):
    """One table of a backup."""

    name: str
    #: In the order of a line's values.
    columns: list[str]
    rows: int
    #: Hex SHA-256 of the table's lines.
    sha256: str


class ObjectEntry(Schema):
    """One stored file that the database refers to."""

    #: Relative to the home.
    path: str
    size_bytes: int
    sha256: str


class BackupManifest(Schema):
    """What a backup holds."""

    format: Literal[1] = FORMAT
    #: Version of the workbench that made it.
    workbench: str
    #: Revision of the schema.
    revision: str
    engine: Literal["sqlite", "postgresql"]
    created_at: Time
    tables: list[TableEntry]
    #: The highest number that each table which counts by itself has given out.
    sequences: dict[str, int]
    objects: list[ObjectEntry]
    #: Files that the database refers to and that were not there.
    missing: list[str]
    #: Whether the files themselves are in the backup, beside their hashes.
    holds_objects: bool

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


class BackupResult(Schema):
    """What became of a backup."""

    path: str
    size_bytes: int
    #: Hex SHA-256 of the file.
    sha256: str
    tables: int
    rows: int
    objects: int
    #: Files that the database refers to and that were not there.
    missing: int
    seconds: float
    #: Older backups that were removed.
    removed: list[str]


class DrillResult(Schema):
    """What a drill, or a restore, has proved."""

    #: The backup that was restored.
    path: str
    made_at: Time
    tables: int
    rows: int
    objects: int
    missing: int
    #: Files that only the backup has as they should be.
    restorable: int
    seconds: float


class RestoreResult(DrillResult):
    """What became of a restore."""

    #: Where the database that was replaced is kept; None when there was none.
    kept: str | None


class TransferResult(Schema):
    """What became of a transfer."""

    #: Where it went, without a password.
    target: str
    tables: list[TableEntry]
    rows: int
    #: Rows that an earlier, broken off run had copied.
    resumed_rows: int
    #: Entries of the audit log, whose chain was followed in the target.
    audit_entries: int
    seconds: float
    dry_run: bool


class Pool(Schema):
    """The connections of the server that answers."""

    size: int
    in_use: int


class DatabaseStatus(Schema):
    """The state of the database."""

    engine: Literal["sqlite", "postgresql"]
    #: Of the database's own software.
    version: str
    #: Where it is, without a password.
    location: str
    size_bytes: int
    pool: Pool
    revision: str | None
    #: The revision that this workbench needs.
    head: str
    #: Hours between two backups that are made by themselves; 0: none are.
    backup_hours: float
    backup_keep: int
    #: Newest first; the last one that succeeded, and one that is newer but has not.
    backups: list[Job]
    drills: list[Job]
