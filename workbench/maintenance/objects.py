"""The stored files that the database refers to, with their hashes. Each is written once and never changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, select

from workbench.core.errors import Invalid, WorkbenchError
from workbench.datasets.store import Store
from workbench.datasets.tables import DatasetVersion
from workbench.evaluation.tables import Evaluation
from workbench.jobs.files import write_json
from workbench.jobs.tables import Job
from workbench.maintenance.schemas import ObjectEntry
from workbench.registry.tables import ModelVersion

#: Folders of the home that hold what is written once and kept.
FOLDERS = ("datasets", "models", "evaluations", "notebooks-submitted", "notebooks-executed", "demo")
INDEX = "object-hashes.json"  # in the home: what each file was when it was hashed


class ObjectsDamaged(Invalid):
    """Stored files are missing or were changed."""

    code = "backup.objects_damaged"


def referred(connection: Connection, home: Path) -> list[str]:
    """Return the files below the home that rows refer to, as sorted relative paths; missing ones too."""
    found = {*_datasets(connection, home), *_models(connection, home), *_notebooks(connection), *_samples(connection)}
    return sorted(path for path in found if is_stored(home, path))


@dataclass
class Hashes:
    """Hashes files once: a file that has the size and time that it had then is not read again."""

    home: Path

    def __post_init__(self) -> None:
        self._index: dict[str, list[Any]] = {}
        if (self.home / INDEX).exists():
            self._index = json.loads((self.home / INDEX).read_bytes())

    def entries(self, paths: Iterable[str], each: Callable[[], None] = lambda: None) -> Iterator[ObjectEntry]:
        """Yield an entry for every path that is there."""
        for path in paths:
            file = self.home / path
            if file.is_file():
                yield self._entry(path, file)
            each()

    def save(self, kept: Iterable[str]) -> None:
        """Remember the hashes of the paths that are still referred to."""
        write_json(self.home / INDEX, {path: self._index[path] for path in kept if path in self._index}, mode=0o600)

    def _entry(self, path: str, file: Path) -> ObjectEntry:
        stat = file.stat()
        known = self._index.get(path)
        if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
            known = self._index[path] = [stat.st_size, stat.st_mtime_ns, sha256(file)]
        return ObjectEntry(path=path, size_bytes=stat.st_size, sha256=known[2])


def damage(home: Path, entry: ObjectEntry) -> str | None:
    """Say what is wrong with a file, None when it is what the entry says. Reads all of it."""
    file = home / entry.path
    if not file.is_file():
        return "is missing"
    if file.stat().st_size != entry.size_bytes or sha256(file) != entry.sha256:
        return "was changed"
    return None


def sha256(file: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_stored(home: Path, path: str) -> bool:
    """Tell whether a path is that of a stored file: no row and no backup makes us read or write any other."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] not in FOLDERS or ".." in parts:
        return False
    try:
        return (home / parts[0]).resolve() in (home / path).resolve().parents
    except (OSError, ValueError):
        return False


def _datasets(connection: Connection, home: Path) -> Iterator[str]:
    store = Store.of(home)
    for name in connection.scalars(select(DatasetVersion.manifest).distinct()):
        yield str(store.manifest_path(name).relative_to(home))
        try:
            manifest = store.manifest(name)
        except (WorkbenchError, OSError, ValueError):
            continue  # its own entry says that it is missing, or the drill that it was changed
        for segment in manifest.segments:
            yield from (str(store.object_path(file.oid).relative_to(home)) for file in segment.files)


def _models(connection: Connection, home: Path) -> Iterator[str]:
    """Base models elsewhere, such as in the hub cache, are not ours to keep."""
    for path in connection.scalars(select(ModelVersion.path)):
        relative = path.removeprefix(f"{home}/")
        if not is_stored(home, f"{relative}/config.json"):
            continue
        files = sorted(file for file in (home / relative).rglob("*") if file.is_file())
        yield from (str(file.relative_to(home)) for file in files)
        if not files:
            yield f"{relative}/config.json"  # so that the loss of a whole model is seen


def _notebooks(connection: Connection) -> Iterator[str]:
    for told in connection.execute(select(Job.spec, Job.outcome).where(Job.kind == "notebook")):
        yield from _named(told, "notebook_path")


def _samples(connection: Connection) -> Iterator[str]:
    for scores in connection.scalars(select(Evaluation.scores)):
        yield from _named(scores if isinstance(scores, list) else [], "samples_path")


def _named(told: Iterable[Any], name: str) -> Iterator[str]:
    return (str(one[name]) for one in told if isinstance(one, dict) and name in one)
