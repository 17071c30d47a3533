"""Checkpoints that are whole or not there: written aside, flushed, listed with their digests, then renamed.

A folder counts only if its manifest does: every file present with its size and SHA-256. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from workbench.training import faults

MANIFEST = "manifest.json"
STAGING = ".partial"
KEPT = 2  # newest complete checkpoints
NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step at which a checkpoint was written."""
    match = NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint.name} is not the name of a checkpoint")
    return int(match[1])


def stage(folder: Path) -> Path:
    """Return an empty staging folder beside the checkpoints; what an earlier, killed writer left there is removed."""
    staging = folder / STAGING
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    return staging


def commit(staged: Path, folder: Path) -> Path:
    """Make a staged `checkpoint-<step>` durable, move it into place, and keep the newest ones only."""
    final = folder / staged.name
    step = step_of(final)
    faults.reach(f"checkpoint:{step}:files")
    _write_manifest(staged)
    faults.reach(f"checkpoint:{step}:manifest")
    if final.exists():
        shutil.rmtree(final)
    staged.rename(final)
    fsync(folder)
    staged.parent.rmdir()
    for old in _listed(folder)[KEPT:]:
        shutil.rmtree(old)
    return final


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, or None."""
    return next((path for path in _listed(folder) if is_complete(path)), None)


def discard_incomplete(folder: Path) -> None:
    """Remove staging folders and checkpoints that do not match their manifest."""
    if (folder / STAGING).exists():
        shutil.rmtree(folder / STAGING)
    for path in _listed(folder):
        if not is_complete(path):
            shutil.rmtree(path)


def is_complete(checkpoint: Path) -> bool:
    """Whether every file of the manifest is there with its content."""
    try:
        listed = json.loads((checkpoint / MANIFEST).read_bytes())["files"]
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return all(_matches(checkpoint / name, entry) for name, entry in listed.items())


def fsync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Flush a folder with everything below it."""
    for path in [*folder.rglob("*"), folder]:
        fsync(path)


def _write_manifest(checkpoint: Path) -> None:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    content = {
        str(path.relative_to(checkpoint)): {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in files
    }
    (checkpoint / MANIFEST).write_text(json.dumps({"files": content}, indent=1))
    fsync_tree(checkpoint)


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(path: Path, entry: dict[str, object]) -> bool:
    return path.is_file() and path.stat().st_size == entry["size_bytes"] and file_sha256(path) == entry["sha256"]


def _listed(folder: Path) -> list[Path]:
    """Checkpoint folders, the newest first, complete or not."""
    found = [path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)
