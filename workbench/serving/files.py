"""The files that a serve worker adds to its attempt's folder: the truth for its progress and its engine."""

from __future__ import annotations

from pathlib import Path


class ServeFolder:
    """`home/jobs/<job_id>/<attempt_no>/` of a deployment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def progress(self) -> Path:
        """What the worker says about itself."""
        return self.path / "deployment.json"

    @property
    def engine(self) -> Path:
        """Socket and key of the engine that is up; there while it is."""
        return self.path / "engine.json"

    @property
    def used(self) -> Path:
        """Its time of change is that of the last request."""
        return self.path / "used"
