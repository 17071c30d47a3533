"""`workbench db`: the database from a shell, with progress on standard error and figures on standard output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from workbench.core.database import Database
from workbench.core.engines import where
from workbench.core.settings import FILE, Settings
from workbench.maintenance import archive, restoring, transfer


def upgrade(settings: Settings, as_json: bool) -> None:
    """Bring the database to this version's revision."""
    database = Database(settings.resolved_database_url())
    try:
        before = database.revision()
        database.upgrade()
        after = database.revision()
    finally:
        database.close()
    moved = f"went from revision {before or 'nothing'} to {after}"
    said = f"is at revision {after} already" if before == after else moved
    _tell({"before": before, "after": after}, f"The database {where(database.url)} {said}.", as_json)


def back_up(settings: Settings, file: Path, with_objects: bool, as_json: bool) -> None:
    """Write a backup while others work."""
    with _bar() as progress:
        result = restoring.back_up(settings, file.absolute(), with_objects=with_objects, progress=progress)
    kept = "with the stored files" if with_objects else "and the hashes of the stored files, which stay in the home"
    said = f"{file} holds {result.rows:,} rows of {result.tables} tables, {kept} ({result.objects:,})."
    if result.missing:
        said += f" {result.missing} files that the database refers to were not there."
    said += "\nKeys are not in it: keep keys.json (WORKBENCH_KEY_FILE) elsewhere."
    _tell(result, said, as_json)


def restore(settings: Settings, file: Path, allow_damaged_objects: bool, as_json: bool) -> None:
    """Replace the database by a backup."""
    with _bar() as progress:
        result = restoring.restore(
            settings, file.absolute(), allow_damaged_objects=allow_damaged_objects, progress=progress
        )
    said = f"The database is that of {result.made_at:%Y-%m-%d %H:%M:%S} UTC again: {result.rows:,} rows, all compared."
    _tell(result, said + (f"\nThe one before is kept: {result.kept}." if result.kept else ""), as_json)


def verify(settings: Settings, file: Path | None, as_json: bool) -> None:
    """Restore a backup into a scratch place and compare everything."""
    with _bar() as progress:
        result = restoring.drill(settings, file.absolute() if file is not None else None, progress)
    said = (
        f"{result.path} holds: {result.rows:,} rows of {result.tables} tables came back with equal checksums, and"
        f" {result.objects:,} stored files are what they were, in {result.seconds:.1f} s."
    )
    if result.restorable:
        said += f" {result.restorable} of them are so only in the backup: restore it to bring them back."
    _tell(result, said, as_json)


def move(settings: Settings, to: str, dry_run: bool, switch: bool, as_json: bool) -> None:
    """Copy the SQLite database into PostgreSQL, and let the home use it from then on when `switch` says so."""
    with _bar() as progress:
        result = transfer.run(settings, to, dry_run=dry_run, progress=progress)
    if dry_run:
        said = f"All {result.rows:,} rows can go to {result.target}; nothing was written."
    else:
        said = (
            f"{result.target} holds all {result.rows:,} rows of {len(result.tables)} tables, with equal checksums,"
            f" after {result.seconds:.1f} s; the SQLite file is as it was."
        )
        if switch:
            settings.keep("database_url", to)
            said += f"\n{settings.home / FILE} says so: every process of this home uses it from now on."
            if "WORKBENCH_DATABASE_URL" in os.environ:
                said += "\nBut WORKBENCH_DATABASE_URL is in the environment, which wins: take it out there."
        else:
            said += f"\nTo use it, put WORKBENCH_DATABASE_URL into {settings.home / FILE} or the environment."
    _tell(result, said, as_json)


def _tell(result: BaseModel | dict[str, str | None], said: str, as_json: bool) -> None:
    if as_json:
        Console(soft_wrap=True).print_json(data=result if isinstance(result, dict) else result.model_dump(mode="json"))
    else:
        typer.echo(said)


@contextmanager
def _bar() -> Iterator[archive.Progress]:
    """Show a bar for each thing that is done, where somebody sees it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)

        yield report
