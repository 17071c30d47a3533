"""Stored files: which of them the database refers to, and what becomes of one that is lost or changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from workbench.accounts.people import owner
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.datasets import service as datasets
from workbench.datasets.schemas import DatasetUpload
from workbench.jobs import service as jobs
from workbench.maintenance import objects, restoring
from workbench.maintenance.archive import Archive, snapshot
from workbench.maintenance.objects import ObjectsDamaged
from workbench.testing import write_demo_dataset


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Path:
    """A home with a dataset, whose segment and manifest are files."""
    file = write_demo_dataset(tmp_path / "rows.jsonl")
    with database.write() as session:
        context = Context(session, owner(), Settings(home=tmp_path))
        datasets.create(context, file, DatasetUpload(filename="rows.jsonl", name="rows"))
    return tmp_path


def of(database: Database, home: Path) -> Settings:
    return Settings(home=home, database_url=database.url)


def referred(database: Database, home: Path) -> list[str]:
    with snapshot(database) as connection:
        return objects.referred(connection, home)


def test_a_backup_knows_the_files_of_datasets_by_their_hashes(database: Database, home: Path) -> None:
    restoring.back_up(of(database, home), home / "backup.zip")
    with Archive(home / "backup.zip") as archive:
        entries = archive.manifest.objects
    assert sorted(entry.path.split("/")[1] for entry in entries) == ["manifests", "objects"]
    assert all(objects.sha256(home / entry.path) == entry.sha256 for entry in entries)


@pytest.mark.parametrize("harm", ["flip", "remove", "shorten"])
def test_a_stored_file_that_is_not_as_it_was_is_named(harm: str, database: Database, home: Path) -> None:
    settings = of(database, home)
    restoring.back_up(settings, home / "backup.zip")
    path = next(name for name in referred(database, home) if "/objects/" in name)
    content = bytearray((home / path).read_bytes())
    if harm == "flip":
        stat = (home / path).stat()
        content[len(content) // 2] ^= 1
        (home / path).write_bytes(content)
        os.utime(home / path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif harm == "remove":
        (home / path).unlink()
    else:
        (home / path).write_bytes(content[:-1])
    with pytest.raises(ObjectsDamaged, match=path):
        restoring.drill(settings, home / "backup.zip")
    database.close()
    with pytest.raises(ObjectsDamaged, match="Nothing was restored"):
        restoring.restore(settings, home / "backup.zip")


def test_a_backup_with_the_files_brings_back_what_was_lost(database: Database, home: Path) -> None:
    settings = of(database, home)
    restoring.back_up(settings, home / "backup.zip", with_objects=True)
    before = {path: (home / path).read_bytes() for path in referred(database, home)}
    shutil.rmtree(home / "datasets")
    database.close()
    restoring.restore(settings, home / "backup.zip")
    assert {path: (home / path).read_bytes() for path in before} == before
    restoring.drill(settings, home / "backup.zip")


def test_a_file_that_was_missing_already_does_not_hinder_a_restore(database: Database, home: Path) -> None:
    settings = of(database, home)
    shutil.rmtree(home / "datasets" / "objects")
    assert restoring.back_up(settings, home / "backup.zip").missing == 1
    assert restoring.drill(settings, home / "backup.zip").missing == 1


def test_a_file_is_hashed_once(database: Database, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = of(database, home)
    restoring.back_up(settings, home / "first.zip")
    read = []
    monkeypatch.setattr(objects, "sha256", lambda file: read.append(file) or "never")
    restoring.back_up(settings, home / "second.zip")
    assert read == []


def test_a_backup_with_a_file_that_has_changed_is_not_made(database: Database, home: Path) -> None:
    settings = of(database, home)
    restoring.back_up(settings, home / "first.zip")
    path = home / next(name for name in referred(database, home) if "/objects/" in name)
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ObjectsDamaged, match="bring it back"):
        restoring.back_up(settings, home / "second.zip", with_objects=True)
    assert not (home / "second.zip").exists()


def test_a_drill_tells_what_only_the_backup_has(database: Database, home: Path) -> None:
    settings = of(database, home)
    restoring.back_up(settings, home / "backup.zip", with_objects=True)
    shutil.rmtree(home / "datasets" / "objects")
    assert restoring.drill(settings, home / "backup.zip").restorable == 1


def test_a_file_of_any_age_can_be_backed_up(database: Database, home: Path) -> None:
    for path in referred(database, home):
        os.utime(home / path, (0, 0))
    assert restoring.back_up(of(database, home), home / "backup.zip", with_objects=True).objects == 2


def test_no_row_leads_to_anything_but_stored_files(database: Database, home: Path) -> None:
    outside = home.parent / "outside.ipynb"
    outside.write_text("secret")
    (home / "keys.json").write_text("secret")
    kept = "notebooks-submitted/a\x01b"
    with database.write() as session:
        context = Context(session, owner(), Settings(home=home))
        for path in ("../outside.ipynb", str(outside), ".", "", "keys.json", "datasets/../keys.json", kept):
            jobs.submit(context, "notebook", "n", {"notebook_path": path})
    assert [path for path in referred(database, home) if not path.startswith("datasets/")] == [kept]
