"""What an answer has said so far, on the disk before its reader gets it: a server that is killed loses none of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from workbench.jobs.processes import identity, is_alive


class Journal:
    """The file of one answer that is being written; its first line says which process writes it."""

    def __init__(self, home: Path, message_id: str) -> None:
        self.path = home / "chat" / f"{message_id}.jsonl"

    def begin(self) -> None:
        """Create the file."""
        self.path.parent.mkdir(exist_ok=True, mode=0o700)
        self._file = self.path.open("x", encoding="utf-8")
        self._write(identity(os.getpid()))

    def add(self, text: str) -> None:
        """Keep some more text; it survives the death of this process as soon as this returns."""
        self._write(text)

    def end(self) -> None:
        """Remove the file, once the database has the answer."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def text(self) -> str:
        """Return what was kept; a line that a killed writer has torn is passed over."""
        return "".join(part for part in self._lines()[1:] if isinstance(part, str))

    def is_written(self) -> bool:
        """Tell whether the process that writes it still lives."""
        lines = self._lines()
        return bool(lines) and isinstance(lines[0], dict) and is_alive(lines[0])

    def _write(self, value: object) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def _lines(self) -> list[object]:
        try:
            written = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in written.splitlines(keepends=True) if line.endswith("\n")]
