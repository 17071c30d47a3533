from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import postgresql
import pytest
from sqlalchemy import inspect, select, text

from workbench.core import events
from workbench.core.database import Database, DatabaseNewer, head
from workbench.core.errors import WorkbenchError
from workbench.core.settings import Settings
from workbench.core.tables import Event
from workbench.jobs.agent import agent_lock
from workbench.maintenance import archive, places, restoring
from workbench.maintenance.archive import Archive, BackupDamaged, BackupExists, BackupTooNew, NoBackup
from workbench.maintenance.objects import INDEX
from workbench.maintenance.places import InUse

#: Restores a backup and dies by SIGKILL when the named function is called.
DYING = """
import os, signal, sys
from pathlib import Path
from workbench.core.errors import WorkbenchError
from workbench.core.settings import Settings
from workbench.maintenance import places, restoring
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(places if sys.argv[1] == "publish" else restoring, sys.argv[1], die)
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
        assert not list(tmp_path.glob("*workbench_*"))
    else:
        with database.engine.begin() as connection:
            schema = made.kept.removeprefix("schema ")
            assert connection.scalar(text(f"SELECT count(*) FROM {schema}.events")) == 2
            assert not [name for name in inspect(connection).get_schema_names() if "_restore_" in name]
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


@pytest.mark.parametrize("step", ["fill", "compare", "check_objects", "check_alone", "swap", "publish"])
def test_a_restore_that_dies_leaves_the_database_as_it_was(
    step: str, database: Database, backup: Path, tmp_path: Path
) -> None:
    if step == "publish" and database.dialect == "postgresql":
        return  # there it is one transaction
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
    prefix = restoring._prefix(settings)
    for name in (f"{prefix}20260102t000000z.zip", f"{prefix}20260101t000000z.zip", "workbench-z.zip"):
        restoring.back_up(settings, tmp_path / "backups" / name)
    assert Path(restoring.drill(settings, None).path).name == f"{prefix}20260102t000000z.zip"
    assert not list(tmp_path.glob(".drill*"))


def test_what_was_killed_is_swept_up_and_nothing_else(database: Database, backup: Path, tmp_path: Path) -> None:
    old, others = "workbench_drill_20200101t000000z_0123abcd", ("drill_20200101t000000z", "restoring", "recipes")
    if database.dialect == "sqlite":
        (tmp_path / f"workbench.db.{old}").touch()
        (tmp_path / "workbench.db.before-20200101t000000z").touch()
    else:
        with database.engine.begin() as connection:
            for name in (old, *others):
                connection.execute(text(f"CREATE SCHEMA {name}"))
            connection.execute(text(f"COMMENT ON SCHEMA {old} IS '{places.COMMENT}'"))
    restoring.drill(of(database, tmp_path), backup)
    assert not list(tmp_path.glob("*drill*"))
    if database.dialect == "sqlite":
        assert (tmp_path / "workbench.db.before-20200101t000000z").exists()
    else:
        with database.engine.begin() as connection:
            assert {*inspect(connection).get_schema_names()} >= {*others}
            assert old not in inspect(connection).get_schema_names()
            for name in others:
                connection.execute(text(f"DROP SCHEMA {name}"))


def test_tables_of_others_stay_where_they_are(database: Database, backup: Path, tmp_path: Path) -> None:
    """An extension's or another program's, beside ours; of whatever type."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE recipes (id integer PRIMARY KEY, place text)")
        connection.exec_driver_sql("INSERT INTO recipes VALUES (1, 'here')")
    database.close()
    try:
        restoring.restore(of(database, tmp_path), backup)
        if database.dialect == "postgresql":
            with database.engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT place FROM recipes").scalar() == "here"
        held = restoring.back_up(of(database, tmp_path), tmp_path / "second.zip")
        assert held.tables == 25
    finally:
        with database.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS recipes")


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


def rewritten(backup: Path, members: dict[str, bytes] | None = None, **changes: object) -> Path:
    """Write a backup again with another manifest and other members, and a checksum that is right."""
    with zipfile.ZipFile(backup) as old:
        contents = {name: old.read(name) for name in old.namelist()} | (members or {})
    manifest = json.loads(contents[archive.MANIFEST]) | changes
    contents[archive.MANIFEST] = json.dumps(manifest).encode()
    made = backup.with_name("rewritten.zip")
    with zipfile.ZipFile(made, "w") as new:
        for name, content in contents.items():
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


@pytest.mark.parametrize(
    "changes",
    [
        {"tables": 5},
        {"revision": "head"},
        {"sequences": {}},
        {"tables": []},
        {"objects": [{"path": "datasets/x", "size_bytes": "many", "sha256": "00"}]},
    ],
)
def test_a_backup_that_was_made_up_is_refused_in_a_sentence(
    changes: dict[str, object], database: Database, backup: Path, tmp_path: Path
) -> None:
    database.close()
    with pytest.raises(WorkbenchError):
        restoring.restore(of(database, tmp_path), rewritten(backup, **changes))
    assert kinds(database) == ["first"]


@pytest.mark.parametrize(
    "line", [b"7\n", b"[1]\n", b"{}\n", b"[1,2,3,4,5]\n", b"no json\n", b"[null,null,null,null,null]\n"]
)
def test_rows_that_were_made_up_are_refused_in_a_sentence(
    line: bytes, database: Database, backup: Path, tmp_path: Path
) -> None:
    with pytest.raises(WorkbenchError):
        restoring.drill(of(database, tmp_path), rewritten(backup, members={"tables/events.jsonl": line}))


@pytest.mark.parametrize(
    "path",
    ["../escaped.txt", "/tmp/absolute.txt", "keys.json", "settings.env", "datasets/../keys.json", "datasets", ""],
)
def test_a_backup_writes_nothing_but_stored_files(path: str, database: Database, backup: Path, tmp_path: Path) -> None:
    content = b"planted"
    entry = {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    made = rewritten(backup, members={f"objects/{path}": content}, holds_objects=True, objects=[entry])
    database.close()
    with pytest.raises(BackupDamaged, match="no stored one"):
        restoring.restore(of(database, tmp_path), made)
    assert not (tmp_path / "keys.json").exists()


def test_a_stored_file_that_is_not_what_its_entry_says_is_refused(
    database: Database, backup: Path, tmp_path: Path
) -> None:
    entry = {"path": "datasets/objects/x", "size_bytes": 7, "sha256": "00" * 32}
    made = rewritten(backup, members={"objects/datasets/objects/x": b"planted"}, holds_objects=True, objects=[entry])
    database.close()
    with pytest.raises(BackupDamaged, match="datasets/objects/x"):
        restoring.restore(of(database, tmp_path), made)
    assert not (tmp_path / "datasets").exists()


def test_a_backup_overwrites_nothing(sqlite_database: Database, tmp_path: Path) -> None:
    with pytest.raises(BackupExists, match="another name"):
        restoring.back_up(Settings(home=tmp_path), tmp_path / "workbench.db")
    assert sqlite_database.revision() == head()


def test_a_database_that_is_damaged_beyond_reading_can_be_restored_over(
    sqlite_database: Database, tmp_path: Path
) -> None:
    publish(sqlite_database, "first")
    settings = Settings(home=tmp_path)
    restoring.back_up(settings, tmp_path / "backup.zip")
    sqlite_database.close()
    (tmp_path / "workbench.db").write_bytes(os.urandom(20_000))
    (tmp_path / "workbench.db-wal").write_bytes(b"what is left of its log")
    kept = restoring.restore(settings, tmp_path / "backup.zip").kept
    assert kinds(sqlite_database) == ["first"]
    assert kept is not None
    assert Path(kept).stat().st_size == 20_000
    assert Path(f"{kept}-wal").read_bytes() == b"what is left of its log"


def test_an_open_connection_is_noticed(sqlite_database: Database, tmp_path: Path) -> None:
    """What is written on it after the swap would be lost."""
    restoring.back_up(Settings(home=tmp_path), tmp_path / "backup.zip")
    with sqlite_database.engine.connect() as idle:
        idle.exec_driver_sql("SELECT 1")
        idle.rollback()
        with pytest.raises(InUse, match="Something else"):
            restoring.restore(Settings(home=tmp_path), tmp_path / "backup.zip")
    publish(sqlite_database, "after")
    assert kinds(sqlite_database) == ["after"]


@pytest.mark.parametrize("name", ["a b", "a%20b", "a?b", "a#b", "a'b", "数据"])
def test_a_home_may_have_any_name(name: str, tmp_path: Path) -> None:
    home = tmp_path / name
    home.mkdir()
    settings = Settings(home=home)
    database = Database(settings.resolved_database_url())
    database.prepare()
    publish(database, "first")
    database.close()
    restoring.back_up(settings, home / "backup.zip")
    restoring.restore(settings, home / "backup.zip")
    assert kinds(database) == ["first"]
    database.close()
    assert (home / "workbench.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_drills_can_run_side_by_side(database: Database, backup: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda _: restoring.drill(of(database, tmp_path), backup), range(3)))
    assert [one.rows for one in made] == [1, 1, 1]


def test_a_document_with_a_number_that_is_none_is_kept(sqlite_database: Database, tmp_path: Path) -> None:
    with sqlite_database.write() as session:
        session.add(Event(topic="t", type="x", data={"loss": float("nan")}))
    settings = Settings(home=tmp_path)
    restoring.back_up(settings, tmp_path / "backup.zip")
    restoring.drill(settings, tmp_path / "backup.zip")


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
