"""Tells the database's state, and queues backups and drills. Never commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, make_url, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from workbench.core.context import Context
from workbench.core.database import Database, head
from workbench.core.engines import where
from workbench.core.errors import Conflict
from workbench.jobs import service as jobs
from workbench.jobs.schemas import Job
from workbench.jobs.states import ENDED
from workbench.jobs.tables import Job as JobRow
from workbench.maintenance.schemas import BackupResult, DatabaseStatus, DrillResult, Pool

BACKUP, DRILL = "backup", "drill"
TITLES = {BACKUP: "Backup of the database", DRILL: "Drill of the newest backup"}


class UnderWay(Conflict):
    """One is under way already."""

    code = "database.under_way"


def status(context: Context) -> DatabaseStatus:
    """Return the database's state as this server sees it."""
    session, settings = context.session, context.settings
    engine = cast(Engine, session.get_bind())
    pool = cast(QueuePool, engine.pool)
    sqlite = engine.dialect.name == "sqlite"
    version = "SELECT sqlite_version()" if sqlite else "SELECT current_setting('server_version')"
    return DatabaseStatus(
        engine="sqlite" if sqlite else "postgresql",
        version=str(session.scalar(text(version))),
        location=where(engine.url.render_as_string(hide_password=False)),
        size_bytes=_size(session, engine),
        pool=Pool(size=pool.size(), in_use=pool.checkedout()),
        revision=Database.revision_of(session.connection()),
        head=head(),
        backup_hours=settings.backup_hours,
        backup_keep=settings.backup_keep,
        backups=_newest(session, BACKUP),
        drills=_newest(session, DRILL),
    )


def back_up(context: Context) -> Job:
    """Queue a backup; raises `UnderWay` while one waits or runs."""
    return _submit(context, BACKUP)


def drill(context: Context) -> Job:
    """Queue a drill; raises `UnderWay` while one waits or runs."""
    return _submit(context, DRILL)


def publish_backup(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Take what became of a backup as its job's outcome."""
    return BackupResult.model_validate(result).model_dump(mode="json")


def publish_drill(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Take what a drill has proved as its job's outcome."""
    return DrillResult.model_validate(result).model_dump(mode="json")


def _submit(context: Context, kind: str) -> Job:
    unfinished = select(JobRow.id).where(JobRow.kind == kind, JobRow.state.not_in(ENDED)).limit(1)
    if (known := context.session.scalar(unfinished)) is not None:
        raise UnderWay(f"The job {known} does this already; wait for its end.")
    return jobs.submit(context, kind, TITLES[kind], {}, cpus=0)


def _newest(session: Session, kind: str) -> list[Job]:
    """Return the newest job of a kind, and the newest that succeeded when that is another."""
    mine = select(JobRow).where(JobRow.kind == kind).order_by(JobRow.id.desc()).limit(1)
    found = [*session.scalars(mine), *session.scalars(mine.where(JobRow.state == "succeeded"))]
    return jobs.records(session, list(dict.fromkeys(found)))


def _size(session: Session, engine: Engine) -> int:
    if engine.dialect.name == "postgresql":
        return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    file = Path(str(make_url(engine.url).database))
    parts = [file, file.with_name(f"{file.name}-wal")]
    return sum(part.stat().st_size for part in parts if part.exists())
