from __future__ import annotations

import threading
from pathlib import Path

import postgresql
import pytest
from sqlalchemy import text

from workbench.core import engines
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway, DatabaseBusy, NetworkFileSystem, file_system, where

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 30 0:41 / /home/ada/fast rw,relatime - xfs /dev/vdb rw
32 22 0:42 / /mnt/with\\040space rw - fuse.sshfs ada@host: rw
33 22 0:43 / /scratch rw - tmpfs tmpfs rw
34 33 0:44 / /scratch rw - lustre fs@tcp:/x rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/workbench.db", None),
        ("/home/ada/workbench.db", "nfs4"),
        ("/home/ada/fast/workbench.db", None),
        ("/home2/workbench.db", None),
        ("/mnt/with space/workbench.db", "fuse.sshfs"),
        ("/scratch/workbench.db", "lustre"),
        ("/home", "nfs4"),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(path: str, kind: str | None) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_sqlite_is_refused_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(f"22 1 0:1 / / rw - ext4 a rw\n30 22 0:40 / {tmp_path} rw - nfs server:/x rw\n")
    monkeypatch.setattr(engines, "MOUNTS", tmp_path / "mounts")
    with pytest.raises(NetworkFileSystem, match="WORKBENCH_DATABASE_URL"):
        Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    assert not (tmp_path / "workbench.db").exists()


def test_a_pool_that_is_used_up_says_so(store: str, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "POOL_TIMEOUT", 0.2)
    database = Database(empty_database_url, pool_size=1)
    held = [database.engine.connect() for _ in range(1 + engines.OVERFLOW)]
    with pytest.raises(DatabaseBusy, match="in use"), database.read() as session:
        session.scalar(text("SELECT 1"))
    for connection in held:
        connection.close()
    with database.read() as session:
        assert session.scalar(text("SELECT 1")) == 1
    database.close()


def test_a_server_that_is_away_is_said_to_be_away_and_found_again() -> None:
    with postgresql.cluster(durable=False) as own:
        database = Database(own.url)
        with database.read() as session:
            assert session.scalar(text("SELECT 1")) == 1
        own.stop("immediate")
        for opened in (database.read, database.write):
            with pytest.raises(DatabaseAway), opened() as session:
                session.scalar(text("SELECT 1"))
        own.start()
        with database.read() as session:
            assert session.scalar(text("SELECT 1")) == 1
        database.close()


def test_a_crash_in_the_middle_of_a_transaction_is_told_as_being_away() -> None:
    with postgresql.cluster(durable=False) as own:
        database = Database(own.url)

        def crash_inside() -> None:
            with database.write() as session:
                session.execute(text("CREATE TABLE t (a int)"))
                own.restart()
                session.execute(text("INSERT INTO t VALUES (1)"))

        with pytest.raises(DatabaseAway):
            crash_inside()
        with database.read() as session:
            assert session.scalar(text("SELECT to_regclass('t')")) is None
        database.close()


def test_a_lock_that_is_held_for_too_long_is_told_as_being_busy(postgresql_database: str) -> None:
    database = Database(postgresql_database)
    ready, over = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as session:
            session.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
            ready.set()
            over.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait(10)
    with pytest.raises(DatabaseBusy), database.read() as session:
        session.execute(text("SELECT 1 FROM events"))
    over.set()
    holder.join()
    database.close()


def test_an_error_of_the_code_is_no_absence(database: Database) -> None:
    with pytest.raises(Exception, match=r"nothing_of_this_name") as caught, database.read() as session:
        session.execute(text("SELECT 1 FROM nothing_of_this_name"))
    assert not isinstance(caught.value, DatabaseAway)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ada:hunter2@db:5432/lab", "db:5432/lab"),
        ("postgresql:///lab", "the local socket/lab"),
        ("sqlite:////srv/workbench.db", "/srv/workbench.db"),
    ],
)
def test_where_a_database_is_is_said_without_its_password(url: str, said: str) -> None:
    assert where(url) == said


def test_the_binaries_of_the_wheel_are_a_real_server() -> None:
    """Where nothing else is installed, the tests run on these."""
    with postgresql.of_the_wheel() as url:
        database = Database(url)
        database.upgrade()
        with database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM jobs")) == 0
        database.close()
