"""A worker's side of an attempt folder: what it is told, and how it says that it ended. Knows no database."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from workbench.core.errors import WorkbenchError
from workbench.jobs.files import write_json

EXIT_FAILED = 1
EXIT_STOPPED = 128 + signal.SIGTERM
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
logger = logging.getLogger("workbench")


class Stopped(Exception):
    """The worker was asked to stop, and has saved what it needs to go on."""


class StopRequest:
    """Whether SIGTERM came."""

    def __init__(self) -> None:
        self.made = False

    def listen(self) -> None:
        """Take note of SIGTERM instead of dying from it."""
        signal.signal(signal.SIGTERM, self._note)

    def check(self) -> None:
        """Raise Stopped if the worker was asked to stop."""
        if self.made:
            raise Stopped

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True


@dataclass(frozen=True)
class Attempt:
    """One attempt of a job."""

    folder: Path
    home: Path
    job_id: str
    attempt_id: str
    attempt_no: int
    #: Sequence number of the last metric line of earlier attempts.
    last_seq: int
    #: Whether to go on from the newest checkpoint.
    resume: bool
    #: The resolved spec of the job's kind.
    spec: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Attempt:
        """Read `spec.json`; the home comes from WORKBENCH_HOME."""
        told = json.loads((folder / "spec.json").read_bytes())
        names = ("job_id", "attempt_id", "attempt_no", "last_seq", "resume", "spec")
        return cls(folder=folder, home=Path(os.environ["WORKBENCH_HOME"]), **{name: told[name] for name in names})

    @property
    def checkpoints(self) -> Path:
        """Where the job's checkpoints lie; all its attempts share them."""
        return self.home / "jobs" / self.job_id / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The attempt's metric lines."""
        return self.folder / "metrics.jsonl"

    def write(self, name: str, value: object) -> None:
        """Write the JSON document `<name>.json` whole or not at all."""
        write_json(self.folder / f"{name}.json", value)

    def resolve(self, path: str) -> Path:
        """Return a path that is absolute or relative to the home."""
        return self.home / path


def run_worker(work: Callable[[Attempt, StopRequest], None], arguments: Sequence[str]) -> int:
    """Do the work of the attempt folder named by the only argument, and return the exit code."""
    os.environ.update(QUIET)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = StopRequest()
    stop.listen()
    attempt = Attempt.read(Path(arguments[0]).absolute())
    try:
        work(attempt, stop)
    except Stopped:
        logger.info("Stopped on request.")
        return EXIT_STOPPED
    except WorkbenchError as error:
        logger.error("%s", error.detail)
        attempt.write("error", {"code": error.code, "message": error.detail})
        return EXIT_FAILED
    return 0


def leave(code: int) -> NoReturn:
    """End the process at once: what counts is on the disk.

    Threads of torch and gloo that are still alive can abort an interpreter that takes itself down, and torchrun would
    then end the other processes, one of which may still be writing the model.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
