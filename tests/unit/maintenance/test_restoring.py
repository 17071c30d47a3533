from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import hostile
import postgresql
import pytest
from sqlalchemy import inspect, select, text

from workbench.core import events
from workbench.core.database import Database, DatabaseNewer, head
from workbench.core.settings import Settings
from workbench.core.tables import Event
from workbench.jobs.agent import agent_lock
from workbench.maintenance import archive, restoring
from workbench.maintenance.archive import Archive, BackupDamaged, BackupTooNew, NoBackup
from workbench.maintenance.objects import INDEX
from workbench.maintenance.restoring import InUse

#: Restores a backup and dies by SIGKILL when the named function is called.
DYING = """
import os, signal, sys
from pathlib import Path
from workbench.core.settings import Settings
from workbench.maintenance import restoring
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(restoring, sys.argv[1], die)
restoring.restore(Settings(), Path(sys.argv[2]))
"""


def of(database: Database, home: Path) -> Settings:
    return Settings(home=home, database_url=database.url)


def publish(database: Database, kind: str) -> None:
    with database.write() as session:
        events.publish(session, "t", kind, {})


def kinds(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Event.type).order_by(Event.seq)))


@pytest.fixture
def backup(database: Database, tmp_path: Path) -> Path:
    """A backup with one event."""
    publish(database, "first")
    restoring.back_up(of(database, tmp_path), tmp_path / "backup.zip")
    return tmp_path / "backup.zip"


def test_a_restore_brings_the_moment_back_and_keeps_what_was_there(
    database: Database, backup: Path, tmp_path: Path
) -> None:
    publish(database, "later")
    database.close()
    made = restoring.restore(of(database, tmp_path), backup)
    assert kinds(database) == ["first"]
    publish(database, "after")
    with database.read() as session:
        assert list(session.scalars(select(Event.seq))) == [1, 2]
    assert made.kept is not None
    if database.dialect == "sqlite":
        kept = Database(f"sqlite:///{made.kept}")
        assert kinds(kept) == ["first", "later"]
        kept.close()
        assert not list(tmp_path.glob("*restoring*"))
    else:
        with database.engine.begin() as connection:
            schema = made.kept.removeprefix("schema ")
            assert connection.scalar(text(f"SELECT count(*) FROM {schema}.events")) == 2
            assert "restoring" not in inspect(connection).get_schema_names()
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


@pytest.mark.parametrize("step", ["fill", "compare", "check_objects", "_swap", "_swap_file"])
def test_a_restore_that_dies_leaves_the_database_as_it_was(
    step: str, database: Database, backup: Path, tmp_path: Path
) -> None:
    if step in ("_swap", "_swap_file") and (step == "_swap_file") != (database.dialect == "sqlite"):
        return  # the other store's
    publish(database, "later")
    database.close()
    variables = {"WORKBENCH_HOME": str(tmp_path), "WORKBENCH_DATABASE_URL": database.url}
    ended = subprocess.run([sys.executable, "-c", DYING, step, str(backup)], env=os.environ | variables)
    assert ended.returncode == -signal.SIGKILL
    assert kinds(database) == ["first", "later"]
    database.close()
    kept = restoring.restore(of(database, tmp_path), backup).kept
    assert kinds(database) == ["first"]
    if database.dialect == "postgresql":
        with database.engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {str(kept).removeprefix('schema ')} CASCADE"))


def test_a_restore_wants_to_be_alone(database: Database, backup: Path, tmp_path: Path) -> None:
    if database.dialect == "postgresql":
        with database.read() as session:
            session.scalar(text("SELECT 1"))
            with pytest.raises(InUse, match="other connections"):
                restoring.restore(of(database, tmp_path), backup)
    database.close()
    with agent_lock(tmp_path), pytest.raises(InUse, match="workbench stop"):
        restoring.restore(of(database, tmp_path), backup)


def test_a_drill_proves_a_backup_and_leaves_nothing(database: Database, backup: Path, tmp_path: Path) -> None:
    publish(database, "later")
    held = restoring.drill(of(database, tmp_path), backup)
    assert (held.rows, held.tables, held.path) == (1, 25, str(backup))
    assert kinds(database) == ["first", "later"]
    assert not list(tmp_path.glob("*drill*"))
    if database.dialect == "postgresql":
        assert not [name for name in inspect(database.engine).get_schema_names() if name.startswith("drill")]


def test_without_a_file_the_newest_backup_is_drilled_or_one_is_made_for_it(database: Database, tmp_path: Path) -> None:
    settings = of(database, tmp_path)
    assert Path(restoring.drill(settings, None).path).name.startswith(".drill-")
    for name in ("workbench-20260102t000000z.zip", "workbench-20260101t000000z.zip"):
        restoring.back_up(settings, tmp_path / "backups" / name)
    assert Path(restoring.drill(settings, None).path).name == "workbench-20260102t000000z.zip"
    assert not list(tmp_path.glob(".drill*"))


def test_what_a_killed_drill_has_left_is_swept_up(database: Database, backup: Path, tmp_path: Path) -> None:
    if database.dialect == "sqlite":
        (tmp_path / "workbench.db.drill_20200101t000000z").touch()
    else:
        with database.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA drill_20200101t000000z"))
    restoring.drill(of(database, tmp_path), backup)
    assert not list(tmp_path.glob("*drill*"))
    if database.dialect == "postgresql":
        assert not [name for name in inspect(database.engine).get_schema_names() if name.startswith("drill")]


def test_a_backup_of_one_store_can_be_restored_into_the_other(
    sqlite_database: Database, postgresql_url: str, tmp_path: Path
) -> None:
    hostile.fill(sqlite_database, 40)
    here = Settings(home=tmp_path)
    first = restoring.back_up(here, tmp_path / "sqlite.zip")
    with postgresql.empty_database(postgresql_url) as url:
        there = Settings(home=tmp_path, database_url=url)
        made = restoring.restore(there, tmp_path / "sqlite.zip", allow_damaged_objects=True)
        second = restoring.back_up(there, tmp_path / "postgresql.zip")
    assert made.kept is None
    with Archive(tmp_path / "sqlite.zip") as one, Archive(tmp_path / "postgresql.zip") as two:
        assert one.manifest.tables == two.manifest.tables
        assert first.rows == second.rows == 40 * 25


def test_an_older_backup_is_upgraded_on_its_way(empty_database_url: str, tmp_path: Path) -> None:
    old = Database(empty_database_url)
    old.upgrade("0003")
    hostile.fill(old, 10)
    settings = Settings(home=tmp_path, database_url=old.url)
    restoring.back_up(settings, tmp_path / "old.zip")
    old.close()
    made = restoring.restore(settings, tmp_path / "old.zip", allow_damaged_objects=True)
    assert made.rows > 0
    assert old.revision() == head()
    old.close()


def rewritten(backup: Path, **changes: object) -> Path:
    """Write a backup again with another manifest, and a checksum that is right."""
    with zipfile.ZipFile(backup) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members[archive.MANIFEST]) | changes
    members[archive.MANIFEST] = json.dumps(manifest).encode()
    made = backup.with_name("rewritten.zip")
    with zipfile.ZipFile(made, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
        new.comment = b"0" * archive.CHECKSUM_BYTES
    with made.open("r+b") as file:
        checksum = archive._checksum(file)
        file.seek(-archive.CHECKSUM_BYTES, os.SEEK_END)
        file.write(checksum.encode())
    return made


def test_a_backup_from_the_future_is_refused(database: Database, backup: Path, tmp_path: Path) -> None:
    database.close()
    with pytest.raises(BackupTooNew, match="newer workbench"):
        restoring.restore(of(database, tmp_path), rewritten(backup, format=2))
    with pytest.raises(DatabaseNewer, match="9999"):
        restoring.restore(of(database, tmp_path), rewritten(backup, revision="9999"))
    assert kinds(database) == ["first"]


def test_a_table_that_lacks_a_row_is_found(database: Database, backup: Path, tmp_path: Path) -> None:
    with Archive(backup) as known:
        tables = [entry.model_dump() for entry in known.manifest.tables]
    next(entry for entry in tables if entry["name"] == "events")["sha256"] = "0" * 64
    with pytest.raises(restoring.RestoreDiffers, match="events came back"):
        restoring.drill(of(database, tmp_path), rewritten(backup, tables=tables))


def test_what_is_no_backup_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(NoBackup):
        restoring.drill(of(database, tmp_path), tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("no backup at all, but longer than a checksum, which has 64 characters")
    with pytest.raises(BackupDamaged):
        restoring.drill(of(database, tmp_path), tmp_path / "text.zip")
    (tmp_path / "empty.zip").touch()
    with pytest.raises(BackupDamaged):
        restoring.drill(of(database, tmp_path), tmp_path / "empty.zip")


def test_a_backup_is_for_its_owner_only_and_leaves_no_part(database: Database, backup: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part"))
    assert stat.S_IMODE((tmp_path / INDEX).stat().st_mode) == 0o600


def test_a_database_without_tables_has_nothing_to_back_up(empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(NoBackup, match="nothing to back up"):
        restoring.back_up(Settings(home=tmp_path, database_url=empty_database_url), tmp_path / "backup.zip")
    assert not list(tmp_path.glob("*.part"))
