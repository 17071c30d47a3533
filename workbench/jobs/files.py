"""The files of an attempt: the truth for its process, exit, metrics and logs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from workbench.jobs.processes import is_alive


class AttemptFolder:
    """`home/jobs/<job_id>/<attempt_no>/`."""

    def __init__(self, home: Path, job_id: str, attempt_no: int) -> None:
        self.path = home / "jobs" / job_id / str(attempt_no)

    @property
    def spec(self) -> Path:
        """What the worker shall do."""
        return self.path / "spec.json"

    @property
    def command(self) -> Path:
        """What the supervisor shall start."""
        return self.path / "command.json"

    @property
    def cancel(self) -> Path:
        """Its presence asks the supervisor to stop the job."""
        return self.path / "cancel"

    @property
    def metrics(self) -> Path:
        """One JSON line a logged step."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Standard output and error of the job."""
        return self.path / "output.log"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the JSON document `<name>.json`, or None while it is not there."""
        return read_json(self.path / f"{name}.json")

    def lines(self, offset: int) -> tuple[list[bytes], int]:
        """Return the whole metric lines that follow `offset`, and the offset after them."""
        try:
            with self.metrics.open("rb") as file:
                file.seek(offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return [], offset
        return whole.splitlines(), offset + len(whole) + len(newline)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON document, None when there is none."""
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None


def live_servers(home: Path, folder: str = "servers") -> list[dict[str, Any]]:
    """Return what each live server of a home has written down about itself in a folder there, newest last."""
    files = sorted((home / folder).glob("*.json"), key=lambda path: path.stat().st_mtime)
    return [known for path in files if (known := read_json(path)) is not None and is_alive(known)]


def write_json(path: Path, value: object, mode: int = 0o644) -> None:
    """Write a JSON document whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
