"""The database's state, and backups and drills as jobs of the queue."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from workbench.accounts import audit
from workbench.accounts.people import owner
from workbench.accounts.tables import AuditEntry
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.database import Database, head
from workbench.core.settings import Settings
from workbench.jobs import service as jobs
from workbench.jobs.agent import Agent
from workbench.jobs.attempt import Attempt, Stopped, StopRequest
from workbench.jobs.tables import Job
from workbench.kinds import KINDS
from workbench.maintenance import restoring, run, service
from workbench.maintenance.service import BACKUP, UnderWay


def attempt(home: Path) -> Attempt:
    folder = home / "jobs" / "job_1" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    return Attempt(folder, home, "job_1", "att_1_1", 1, 0, False, {})


def work(kind: str, database: Database, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Do a kind's work as its process would, and return the result."""
    monkeypatch.setenv("WORKBENCH_DATABASE_URL", database.url)
    made = attempt(home)
    run.WORK[kind](made, StopRequest())
    return dict(json.loads((made.folder / "result.json").read_bytes()))


def test_the_state_of_the_database(database: Database, settings: Settings) -> None:
    with database.read() as session:
        told = service.status(Context(session, owner(), settings))
    assert (told.engine, told.revision, told.head) == (database.dialect, head(), head())
    assert (told.pool.size, told.pool.in_use) == (8, 1)
    assert told.size_bytes > 10_000
    assert (told.backups, told.drills) == ([], [])
    assert told.version[0].isdigit()
    assert "postgres@" not in told.location


def test_a_backup_is_a_job_and_so_is_a_drill(context: Context, tmp_path: Path, database: Database) -> None:
    made = [service.back_up(context), service.drill(context)]
    assert [(job.kind, job.cpus) for job in made] == [("backup", 0), ("drill", 0)]
    with pytest.raises(UnderWay, match=made[0].id):
        service.back_up(context)
    told = service.status(context)
    assert [job.id for job in (*told.backups, *told.drills)] == [job.id for job in made]


def test_what_the_jobs_do_is_what_their_finishers_take(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    with database.write() as session:
        audit.record(session, owner(), "a.b")
        job = service.back_up(Context(session, owner(), settings))
    backup = work("backup", database, tmp_path, monkeypatch)
    drill = work("drill", database, tmp_path, monkeypatch)
    assert drill["path"] == backup["path"]
    with database.write() as session:
        context = Context(session, owner(), settings)
        assert service.publish_backup(context, job, "att_1", backup) == backup
        assert service.publish_drill(context, job, "att_1", drill)["rows"] == backup["rows"]
    assert (tmp_path / "jobs" / "job_1" / "1" / "metrics.jsonl").read_text()


def test_the_newest_backups_are_kept(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_BACKUP_KEEP", "2")
    folder = tmp_path / "backups"
    folder.mkdir()
    prefix = restoring._prefix(Settings(home=tmp_path))
    names = [f"{prefix}2026010{day}t000000z.zip" for day in (1, 2, 3)]
    others = ["my-own.zip", "workbench-before-the-move.zip", "workbench-ffffff-20260101t000000z.zip"]
    for name in (*names, *others, f".{names[0]}.0.part"):
        (folder / name).touch()
    result = work("backup", database, tmp_path, monkeypatch)
    assert [Path(path).name for path in result["removed"]] == names[:2]
    assert {path.name for path in folder.iterdir()} == {*others, names[2], Path(result["path"]).name}


def test_a_backup_stops_when_it_is_asked_to(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_DATABASE_URL", database.url)
    stop = StopRequest()
    stop.made = True
    with pytest.raises(Stopped):
        run.back_up(attempt(tmp_path), stop)
    assert list((tmp_path / "backups").iterdir()) == []


DAY = timedelta(days=1)


def begin(database: Database, ago: timedelta) -> None:
    with database.write() as session:
        audit.record(session, owner(), "a.b")
        session.scalars(select(AuditEntry)).one().at = utcnow() - ago


@pytest.mark.parametrize(("ago", "due"), [(timedelta(hours=23), False), (timedelta(hours=25), True)])
def test_the_first_backup_is_due_when_there_is_a_day_of_work(ago: timedelta, due: bool, database: Database) -> None:
    with database.read() as session:
        assert not jobs.is_due(session, BACKUP, DAY)
    begin(database, ago)
    with database.read() as session:
        assert jobs.is_due(session, BACKUP, DAY) == due


@pytest.mark.parametrize(
    ("state", "hours", "due"),
    [
        ("succeeded", 25, True),
        ("succeeded", 23, False),
        ("failed", 25, True),
        ("failed", 1, False),
        ("running", 99, False),
    ],
)
def test_the_next_backup_is_due_a_day_after_the_last(
    state: str, hours: int, due: bool, database: Database, settings: Settings
) -> None:
    with database.write() as session:
        job = service.back_up(Context(session, owner(), settings))
        row = session.get_one(Job, job.id)
        row.state, row.created_at = state, utcnow() - timedelta(hours=hours)
    with database.read() as session:
        assert jobs.is_due(session, BACKUP, DAY) == due


def test_the_agent_queues_a_backup_by_itself(database: Database, settings: Settings) -> None:
    begin(database, timedelta(days=2))
    agent = Agent(database, settings, KINDS)
    agent._queue_what_is_due()
    agent._look_for_due = 0
    agent._queue_what_is_due()
    with database.read() as session:
        (job,) = session.scalars(select(Job))
        assert (job.kind, job.state, job.owner_id, job.title) == ("backup", "queued", "owner", "Backup of the database")
    agent._leave()


def test_no_backup_is_made_where_none_is_wanted(database: Database, tmp_path: Path) -> None:
    begin(database, timedelta(days=2))
    agent = Agent(database, Settings(home=tmp_path, backup_hours=0), KINDS)
    agent._queue_what_is_due()
    with database.read() as session:
        assert session.scalars(select(Job)).all() == []
    agent._leave()
