"""Backups that are made and restored while others write: every one is of one moment, and no change in one goes unseen.

`WORKBENCH_LONG=1` does it 200 times on each store, and changes 2,000 bytes.
"""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path

import pytest
from sqlalchemy import delete

from workbench.core import events
from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.core.tables import Event
from workbench.maintenance import restoring
from workbench.maintenance.archive import Archive, BackupDamaged

LONG = bool(os.environ.get("WORKBENCH_LONG"))
CYCLES, CHANGES = (200, 2_000) if LONG else (5, 40)


KEPT = 2_000  # events; the older ones are deleted, two at a time too


class Writers:
    """Threads that write two events at once, and delete the two oldest, over and over."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        self.written = 0

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with self._database.write() as session:
                newest = events.newest(session)
                session.execute(delete(Event).where(Event.seq <= (newest - KEPT) // 2 * 2))
                events.publish(session, "pair", "first", {"text": "数据"})
                events.publish(session, "pair", "second", {"text": "\U0001f600"})
            self.written += 1


@pytest.mark.slow
def test_every_backup_under_load_is_of_one_moment(database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=database.url)
    database.prepare()
    moments = []
    with Writers(database, 3) as writers:
        for number in range(CYCLES):
            file = tmp_path / f"{number}.zip"
            restoring.back_up(settings, file)
            held = restoring.drill(settings, file)
            with Archive(file) as archive:
                rows = {entry.name: entry.rows for entry in archive.manifest.tables}
                kinds = [row[4] for row in archive.rows("events")]
                moments.append(archive.manifest.sequences["events"])
            assert kinds == ["first", "second"] * (rows["events"] // 2)
            assert held.rows == sum(rows.values())
            file.unlink()
    assert moments == sorted(moments)
    assert moments[-1] > moments[0], "nothing was written meanwhile"
    print(f"{database.dialect}: {CYCLES} backups and restores, {writers.written} writes meanwhile, all verified")


@pytest.mark.slow
def test_no_changed_byte_goes_unseen(database: Database, tmp_path: Path) -> None:
    settings, chance = Settings(home=tmp_path, database_url=database.url), random.Random(6)
    with Writers(database, 1) as writers:
        while writers.written < 50:
            pass
    file, named = tmp_path / "whole.zip", set()
    restoring.back_up(settings, file)
    database.close()  # a restore wants to be alone
    content = file.read_bytes()
    for _ in range(CHANGES):
        place = chance.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        (tmp_path / "changed.zip").write_bytes(changed)
        with pytest.raises(BackupDamaged, match="its ") as caught:
            restoring.restore(settings, tmp_path / "changed.zip")
        named.add(caught.value.detail.partition("whole: ")[2])
    assert any("table events" in name for name in named)
    print(json.dumps(sorted(named), indent=1))
