from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import until
from sqlalchemy import select

from workbench.accounts.people import owner
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.lineage import Ref, edges
from workbench.core.settings import Settings
from workbench.jobs import schemas, service
from workbench.jobs.executor import LocalExecutor
from workbench.jobs.files import AttemptFolder
from workbench.jobs.processes import is_alive, start_time
from workbench.jobs.runner import Runner, assign
from workbench.jobs.tables import Attempt, Job

from .trivial import KINDS


@dataclass
class Host:
    """A host without an agent: tests take each step themselves."""

    database: Database
    settings: Settings
    runner: Runner

    def submit(self, end: str = "well", steps: int = 2, kind: str = "trivial", cpus: int = 1, **spec: Any) -> str:
        with self.database.write() as session:
            context = Context(session, owner(), self.settings)
            given = {"end": end, "steps": steps, **spec}
            return service.submit(context, kind, f"a {end} job", given, cpus=cpus).id

    def assign(self, job_id: str) -> None:
        with self.database.write() as session:
            assert assign(session, service.find(session, job_id), "here")

    def start(self, end: str = "well", steps: int = 2, **spec: Any) -> str:
        job_id = self.submit(end, steps, **spec)
        self.assign(job_id)
        return job_id

    def cancel(self, job_id: str) -> schemas.Job:
        with self.database.write() as session:
            return service.cancel(Context(session, owner(), self.settings), job_id)

    def resume(self, job_id: str) -> schemas.Job:
        with self.database.write() as session:
            return service.resume(Context(session, owner(), self.settings), job_id)

    def row(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def job(self, job_id: str) -> schemas.Job:
        return service.record(self.row(job_id))

    def attempts(self, job_id: str) -> list[Attempt]:
        with self.database.read() as session:
            return list(session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.no)))

    def metrics(self, job_id: str, after: int = 0) -> list[schemas.MetricMessage]:
        with self.database.read() as session:
            return service.metrics(session, job_id, after)

    def published(self, job_id: str) -> list[str]:
        """Return what the finisher wrote for a job."""
        with self.database.read() as session:
            return [edge.target.id for edge in edges(session, Ref(kind="job", id=job_id))]

    def folder(self, job_id: str, attempt_no: int | None = None) -> AttemptFolder:
        return AttemptFolder(self.settings.home, job_id, attempt_no or self.row(job_id).attempt_no)

    def look(self) -> None:
        """Bring every live job up to date, once."""
        for job in self.runner.live():
            self.runner.follow(job)

    def until(self, job_id: str, *states: str) -> schemas.Job:
        """Follow the jobs until one has reached a state."""

        def reached() -> schemas.Job | None:
            self.look()
            job = self.job(job_id)
            return job if job.state in states else None

        return until(reached, what=f"{job_id} in {states}")

    def until_logged(self, job_id: str) -> None:
        """Wait until the worker has logged all its steps."""
        self.until(job_id, "running")
        log = self.folder(job_id).log
        until(lambda: b"Logged" in log.read_bytes(), what="the job's last step")

    def kill_supervisor(self, job_id: str) -> None:
        run = until(lambda: self.folder(job_id).read("run"))
        os.kill(run["supervisor"]["pid"], signal.SIGKILL)
        until(lambda: not is_alive(run["supervisor"]), what="the supervisor's end")


@pytest.fixture
def host(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    executors: list[LocalExecutor] = []
    made = LocalExecutor.__init__

    def note(executor: LocalExecutor) -> None:
        executors.append(executor)
        made(executor)

    monkeypatch.setattr(LocalExecutor, "__init__", note)
    yield Host(database, settings, Runner(database, settings, KINDS, "here"))
    for folder in attempt_folders(settings.home):
        end(folder)
        for executor in executors:
            executor.poll(folder)


def attempt_folders(home: Path) -> list[AttemptFolder]:
    paths = (path for path in home.glob("jobs/*/*") if path.name.isdigit())
    return [AttemptFolder(home, path.parent.name, int(path.name)) for path in paths]


def end(folder: AttemptFolder) -> None:
    """Kill what a test has left running, and wait for its end."""
    run = folder.read("run")
    if run is not None and is_alive(run["supervisor"]):
        os.kill(run["supervisor"]["pid"], signal.SIGKILL)
        until(lambda: not is_alive(run["supervisor"]) and start_time(run["pid"]) is None, what="the job's end")
