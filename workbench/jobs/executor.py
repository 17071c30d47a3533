"""The local executor: a detached supervisor per attempt. It knows attempt folders, not the database."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from workbench.core.environment import scrubbed
from workbench.jobs.files import AttemptFolder, write_json
from workbench.jobs.processes import is_alive

GRACE = 60.0  # seconds between TERM and KILL
START_GRACE = 15.0  # seconds a supervisor may take to write run.json
ORPHAN_TIMEOUT = 10.0  # seconds a killed process may take to go
ATTEMPT_VARIABLE = "WORKBENCH_ATTEMPT"  # marks every process of an attempt with its folder
SUPERVISOR = Path(__file__).with_name("supervisor.py")


def _processes_of(folder: AttemptFolder) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _attempt_of(process) == str(folder.path)]


def _attempt_of(process: psutil.Process) -> str | None:
    try:
        variables: dict[str, str] = process.environ()
        return variables.get(ATTEMPT_VARIABLE)
    except psutil.Error:
        return None


class Status(NamedTuple):
    """What the files of an attempt say."""

    phase: Literal["absent", "running", "exited", "vanished"]
    exit_code: int | None = None
    stopped: bool = False


class LocalExecutor:
    """Runs attempts on this host."""

    def __init__(self) -> None:
        self._supervisors: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, folder: AttemptFolder, argv: list[str], variables: Mapping[str, str]) -> None:
        """Start the attempt's supervisor in its own session; the caller has made the folder.

        The job inherits the supervisor's environment: a token in `variables` is never written to a file.
        """
        write_json(folder.command, {"argv": argv, "grace": GRACE})
        self._supervisors[folder.path] = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), str(folder.path)],
            cwd=folder.path,
            env=scrubbed(variables) | {ATTEMPT_VARIABLE: str(folder.path)},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def poll(self, folder: AttemptFolder) -> Status:
        """Read the attempt's state from its files, whoever started it."""
        status = self._look(folder)
        if status.phase in ("exited", "vanished") and folder.path in self._supervisors:
            self._supervisors.pop(folder.path).wait()  # writing exit.json was its last act; no zombie shall stay
        return status

    def stop(self, folder: AttemptFolder) -> None:
        """Ask the attempt's supervisor to stop the job."""
        folder.cancel.touch()

    def _look(self, folder: AttemptFolder) -> Status:
        ended = folder.read("exit")
        if ended is None and (run := folder.read("run")) is not None:
            if is_alive(run["supervisor"]):
                return Status("running")
            ended = folder.read("exit")  # it may have ended between the two looks
            if ended is None:
                return Status("vanished")
        if ended is None:
            return Status("absent")
        return Status("exited", int(ended["code"]), bool(ended["stopped"]))

    def end_orphans(self, folder: AttemptFolder) -> None:
        """Kill what a vanished supervisor left running, so that a new attempt never writes beside an old one."""
        deadline = time.monotonic() + ORPHAN_TIMEOUT
        while (orphans := _processes_of(folder)) and time.monotonic() < deadline:
            for process in orphans:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(orphans, timeout=ORPHAN_TIMEOUT)
