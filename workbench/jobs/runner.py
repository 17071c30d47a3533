"""Carries one host's attempts through: start, ingest metrics, cancel, publish. Files say what happened."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from workbench.accounts import people
from workbench.accounts import service as accounts
from workbench.accounts.roles import LIMITS
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway
from workbench.core.settings import Settings
from workbench.jobs import feed, schemas, service
from workbench.jobs.executor import START_GRACE, LocalExecutor, Status
from workbench.jobs.files import AttemptFolder, live_servers, write_json
from workbench.jobs.states import LIVE, move
from workbench.jobs.tables import Attempt, Job, Metric

MAX_ATTEMPTS_AFTER_LOSS = 5
TORCHRUN_SIGNAL = re.compile(r"exitcode\s*:\s*-(\d+)")
LOG_TAIL_BYTES = 16_384
DATABASE_VARIABLES = ("WORKBENCH_DATABASE_URL", "WORKBENCH_BACKUP_FOLDER", "WORKBENCH_BACKUP_KEEP")

logger = logging.getLogger(__name__)

#: Writes what a job made into the database, as the job's owner and in the transaction that ends the job: of the job,
#: its attempt's id and its result; returns the ids of what it made.
Finisher = Callable[[Context, schemas.Job, str, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """What `jobs` needs to know of a kind of job."""

    #: Worker command for a spec and an attempt folder.
    argv: Callable[[dict[str, Any], Path], list[str]]
    publish: Finisher
    #: Whether its worker, which then runs no code but ours, is given the database's URL.
    reads_database: bool = False
    #: How often it is queued by itself, in the owner's name and with this title; None: never.
    every: Callable[[Settings], timedelta | None] = lambda settings: None
    title: str = ""


class Runner:
    """Looks after the live attempts of one host."""

    def __init__(self, database: Database, settings: Settings, kinds: Mapping[str, Kind], host_id: str) -> None:
        self._database = database
        self._settings = settings
        self._kinds = kinds
        self._host_id = host_id
        self._executor = LocalExecutor()

    def live(self) -> list[Job]:
        """Return the jobs that have an attempt on this host."""
        here = (Attempt.job_id == Job.id) & (Attempt.no == Job.attempt_no) & (Attempt.host_id == self._host_id)
        with self._database.read() as session:
            return list(session.scalars(select(Job).join(Attempt, here).where(Job.state.in_(LIVE)).order_by(Job.id)))

    def follow(self, job: Job) -> None:
        """Bring one live job up to date with its files."""
        folder = self._folder(job)
        status = self._executor.poll(folder)
        if status.phase == "absent":
            self._begin(job, folder)
        elif status.phase == "running" or job.state == "assigned":  # a short job has ended before the first look
            self._watch(job, folder)
        else:
            self._ingest(job, folder)
            self._finish(job, folder, status)

    def stop(self, job: Job) -> None:
        """Ask a live job to stop; unless it was cancelled, it is queued again when it has."""
        folder = self._folder(job)
        folder.path.mkdir(parents=True, exist_ok=True)
        self._executor.stop(folder)

    def _begin(self, job: Job, folder: AttemptFolder) -> None:
        if job.cancel_requested and not folder.command.exists():
            self._end(job, "cancelled", None)
        elif not folder.command.exists():
            self._start(job, folder)
        elif time.time() - folder.command.stat().st_mtime > START_GRACE:
            self._lose(job)

    def _start(self, job: Job, folder: AttemptFolder) -> None:
        if job.kind not in self._kinds:
            message = f"This agent does not know jobs of the kind “{job.kind}”; a newer version has queued it."
            self._end(job, "failed", None, error_code="job.unknown_kind", error=message)
            return
        with self._database.read() as session:
            owner_left = people.person(session, job.owner_id) is None
        if owner_left:
            message = "The account of its owner is disabled, so that nothing starts in its name."
            self._end(job, "failed", None, error_code="job.owner_left", error=message)
            return
        folder.path.mkdir(parents=True, exist_ok=True)
        with self._database.write() as session:
            attempt = _attempt(session, job)
            accounts.revoke(session, "job", attempt.id)
            token = accounts.issue(session, _owner(job), "program", "job", attempt.id)
        spec = {
            "job_id": job.id,
            "attempt_id": attempt.id,
            "attempt_no": job.attempt_no,
            "last_seq": attempt.first_seq,
            "resume": job.attempt_no > 1,
            "spec": job.spec,
        }
        write_json(folder.spec, spec)
        variables = {"WORKBENCH_HOME": str(self._settings.home), "WORKBENCH_TOKEN": token, "PYTHONUNBUFFERED": "1"}
        if self._kinds[job.kind].reads_database:
            variables |= {name: os.environ[name] for name in DATABASE_VARIABLES if name in os.environ}
        if servers := live_servers(self._settings.home):
            variables["WORKBENCH_URL"] = servers[-1]["url"]
        argv = self._kinds[job.kind].argv(job.spec, folder.path)
        self._executor.start(folder, argv, variables)

    def _watch(self, job: Job, folder: AttemptFolder) -> None:
        self._ingest(job, folder)
        if job.state == "assigned":
            self._move(job, "running", started_at=job.started_at or utcnow())
        if job.cancel_requested and job.state != "stopping":
            self._executor.stop(folder)
            self._move(job, "stopping")

    def _ingest(self, job: Job, folder: AttemptFolder) -> None:
        with self._database.read() as session:
            offset = _attempt(session, job).metrics_offset
        lines, end = folder.lines(offset)
        if not lines:
            return
        resumed = folder.read("resume")
        rows = [
            Metric(job_id=job.id, attempt_no=job.attempt_no, **line.model_dump(include=METRIC_COLUMNS))
            for line in feed.parse(lines)
        ]
        with self._database.write() as session:
            attempt = _attempt(session, job)
            if attempt.metrics_offset != offset:
                return
            session.add_all(rows)
            attempt.metrics_offset = end
            attempt.resumed_from_step = int(resumed["step"]) if resumed is not None else None

    def _finish(self, job: Job, folder: AttemptFolder, status: Status) -> None:
        result = folder.read("result")
        if result is not None:
            self._publish(job, result, status)  # written last and whole: the work is done, however its process ended
        elif status.phase == "vanished":
            self._lose(job)
        elif status.stopped and job.cancel_requested:
            self._end(job, "cancelled", status)
        elif status.stopped:
            self._end(job, "queued", status, "The workbench was stopped; the job goes on from its last checkpoint.")
        else:
            code, message = failure(folder, status)
            self._end(job, "failed", status, error_code=code, error=message)

    def _publish(self, job: Job, result: dict[str, Any], status: Status) -> None:
        self._executor.end_orphans(self._folder(job))
        try:
            with self._database.write() as session:
                attempt = _attempt(session, job)
                context = Context(session, _owner(job), self._settings)
                outcome = self._kinds[job.kind].publish(context, service.record(job), attempt.id, result)
                attempt.exit_code, attempt.finished_at = status.exit_code, utcnow()
                accounts.revoke(session, "job", attempt.id)
                if not move(session, job, "succeeded", outcome=outcome, finished_at=utcnow()):
                    session.rollback()
        except (DatabaseAway, IntegrityError):
            raise  # the database is busy or away: the next look publishes
        except Exception as error:
            logger.exception("The result of job %s cannot be published", job.id)
            fault = type(error).__name__
            message = f"The job ended well, but its result could not be published ({fault}); the agent’s log says more."
            self._end(job, "failed", None, error_code="job.unpublished", error=message)

    def _lose(self, job: Job) -> None:
        self._executor.end_orphans(self._folder(job))
        with self._database.write() as session:
            row = service.find(session, job.id)
            if (row.state, row.attempt_no) != (job.state, job.attempt_no) or not move(session, row, "lost"):
                return
            attempt = _attempt(session, row)
            attempt.finished_at = utcnow()
            accounts.revoke(session, "job", attempt.id)
            if row.attempt_no < MAX_ATTEMPTS_AFTER_LOSS:
                reason = "Its supervisor vanished (did the machine restart?); it goes on from its last checkpoint."
                move(session, row, "queued", wait_reason=reason)
                return
            message = f"Its supervisor vanished, after {row.attempt_no} attempts in all; look at the host’s memory."
            move(session, row, "failed", error_code="job.lost", error=message, finished_at=utcnow())

    def _end(
        self, job: Job, state: schemas.State, status: Status | None, wait_reason: str | None = None, **values: Any
    ) -> None:
        with self._database.write() as session:
            attempt = _attempt(session, job)
            attempt.exit_code = status.exit_code if status is not None else None
            attempt.finished_at = utcnow()
            accounts.revoke(session, "job", attempt.id)
            ended = None if state == "queued" else utcnow()
            move(session, job, state, wait_reason=wait_reason, finished_at=ended, **values)

    def _move(self, job: Job, state: schemas.State, **values: Any) -> bool:
        with self._database.write() as session:
            return move(session, job, state, **values)

    def _folder(self, job: Job) -> AttemptFolder:
        return AttemptFolder(self._settings.home, job.id, job.attempt_no)


METRIC_COLUMNS = {"seq", "step", "total_steps", "at", "values"}


def assign(session: Session, job: Job, host_id: str) -> bool:
    """Give a queued job its next attempt on a host."""
    seq = session.scalar(select(func.max(Metric.seq)).where(Metric.job_id == job.id)) or 0
    no = job.attempt_no + 1
    if not move(session, job, "assigned", attempt_no=no, wait_reason=None):
        return False
    session.add(Attempt(id=attempt_id(job.id, no), job_id=job.id, no=no, host_id=host_id, first_seq=seq))
    return True


def attempt_id(job_id: str, no: int) -> str:
    """Return the id of a job's attempt: `att_…_2` for the second of `job_…`."""
    return f"{job_id.replace('job_', 'att_', 1)}_{no}"


def failure(folder: AttemptFolder, status: Status) -> tuple[str, str]:
    """Return the code and the sentence for an attempt that ended badly."""
    known = folder.read("error")
    if known is not None:
        return str(known["code"]), str(known["message"]).replace("\0", "\ufffd")  # which no database keeps
    number = _signal(folder, status)
    if number is not None:
        name = signal.Signals(number).name
        return (
            "job.killed",
            f"The job was killed by {name} (signal {number}); resume it to go on from its last checkpoint.",
        )
    started = folder.read("exit") or {}
    reason = f": {started['reason']}" if "reason" in started else "; its log says why"
    return "job.crashed", f"The job's process ended with exit code {status.exit_code}{reason}."


def _signal(folder: AttemptFolder, status: Status) -> int | None:
    code = status.exit_code or 0
    if code < 0:
        return -code
    if not folder.log.exists():
        return None
    with folder.log.open("rb") as file:
        file.seek(max(0, folder.log.stat().st_size - LOG_TAIL_BYTES))
        found = TORCHRUN_SIGNAL.search(file.read().decode("utf8", errors="replace"))
    return int(found[1]) if found else None


def _owner(job: Job) -> Principal:
    return Principal(job.owner_id, job.owner_name, LIMITS["program"])


def _attempt(session: Session, job: Job) -> Attempt:
    return session.scalars(select(Attempt).where(Attempt.job_id == job.id, Attempt.no == job.attempt_no)).one()
