"""The agent: one process per home that plans the queue, runs its jobs and publishes their results.

It outlives every server; the jobs outlive it. A lock file in the home makes it the only one.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

import workbench
from workbench.accounts import people
from workbench.core import events
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway
from workbench.core.errors import Conflict
from workbench.core.settings import Settings
from workbench.jobs import service
from workbench.jobs.files import live_servers, write_json
from workbench.jobs.processes import identity
from workbench.jobs.runner import Kind, Runner, assign
from workbench.jobs.scheduler import Room, Waiting, plan
from workbench.jobs.states import LIVE
from workbench.jobs.tables import Attempt, Host, Job

TICK = 0.5  # seconds between two looks when nothing is announced
DUE_INTERVAL = 30.0  # seconds between two looks for work that is queued by itself
LEADER_LOCK = 0x6C656164  # advisory lock key: "lead"

logger = logging.getLogger(__name__)


class AgentRunning(Conflict):
    """An agent already looks after this home."""

    code = "agent.running"


@contextmanager
def agent_lock(home: Path, timeout: float = 0.0) -> Iterator[None]:
    """Hold the home's agent lock, waiting up to `timeout` seconds; raise `AgentRunning` when another holds it."""
    deadline = time.monotonic() + timeout
    with (home / "agent.lock").open("a") as lock:
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                raise AgentRunning(f"Another agent looks after {home}; only one can.")
            time.sleep(0.1)
        yield


def agent_is_up(home: Path) -> bool:
    """Tell whether some process holds the home's agent lock."""
    try:
        with agent_lock(home):
            return False
    except AgentRunning:
        return True


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Agent:
    """Plans and runs the jobs of one home."""

    def __init__(self, database: Database, settings: Settings, kinds: Mapping[str, Kind]) -> None:
        self._database = database
        self._settings = settings
        self._host_id = host_id(settings.home)
        self._runner = Runner(database, settings, kinds, self._host_id)
        self._leadership = Leadership(database)
        self._leaving = threading.Event()
        self._kinds = kinds
        self._heartbeat = 0.0
        self._look_for_due = 0.0
        self._busy_at = time.monotonic()

    def run(self) -> None:
        """Work until told to leave or idle; the caller holds the lock. Jobs go on without it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._leaving.set())
        who = identity(os.getpid()) | {"version": workbench.__version__}
        write_json(self._settings.home / "agent.json", who)
        watcher = events.watch(self._database)
        idle = False
        while not self._leaving.is_set() and not idle:
            try:
                self.tick()
                idle = self._idle()
            except DatabaseAway as error:
                logger.warning("The queue cannot be looked at: %s", error)
                self._leaving.wait(TICK)
            except Exception:
                logger.exception("A look at the queue failed; trying again")
                self._leaving.wait(TICK)
            watcher.wait(TICK)
        watcher.close()
        self._leave()

    def tick(self) -> None:
        """Look at everything once."""
        self._beat()
        if self._leadership.held():
            self._queue_what_is_due()
            self._plan()
        for job in self._runner.live():
            self._follow(job)

    def shut_down(self, timeout: float = 90.0) -> None:
        """Stop every live job of this host and wait for its end; each is queued to go on at the next start."""
        deadline = time.monotonic() + timeout
        for job in self._runner.live():
            self._runner.stop(job)
        while (live := self._runner.live()) and time.monotonic() < deadline:
            for job in live:
                self._follow(job)
            time.sleep(0.1)
        self._leave()

    def _follow(self, job: Job) -> None:
        try:
            self._runner.follow(job)
        except DatabaseAway:
            raise
        except Exception:
            logger.exception("Job %s cannot be followed; the others go on", job.id)

    def _idle(self) -> bool:
        with self._database.read() as session:
            unfinished = session.scalar(select(func.count()).where(Job.state.in_(LIVE | {"queued"}))) or 0
        if unfinished or live_servers(self._settings.home):
            self._busy_at = time.monotonic()
        return time.monotonic() - self._busy_at > self._settings.agent_idle_seconds

    def _beat(self) -> None:
        if time.monotonic() - self._heartbeat < service.HEARTBEAT_INTERVAL:
            return
        cpus, gpus = capacity(self._settings)
        host = Host(id=self._host_id, cpus=cpus, gpus=gpus, version=workbench.__version__, heartbeat_at=utcnow())
        with self._database.write() as session:
            session.merge(host)
        self._heartbeat = time.monotonic()

    def _queue_what_is_due(self) -> None:
        if time.monotonic() < self._look_for_due:
            return
        self._look_for_due = time.monotonic() + DUE_INTERVAL
        for name, kind in self._kinds.items():
            interval = kind.every(self._settings)
            if interval is None:
                continue
            with self._database.read() as session:
                due = service.is_due(session, name, interval)
            if due:
                with self._database.write() as session:
                    service.submit(Context(session, people.owner(), self._settings), name, kind.title, {}, cpus=0)

    def _plan(self) -> None:
        with self._database.read() as session:
            changes = _changes(session)
        if not changes:
            return
        with self._database.write() as session:
            service.hold_queue(session)
            for job_id, host_id, reason in _changes(session):  # again: a job may have been moved meanwhile
                self._apply(session, job_id, host_id, reason)

    def _apply(self, session: Session, job_id: str, host_id: str | None, reason: str | None) -> None:
        job = session.get_one(Job, job_id)
        if job.state != "queued":
            return
        if host_id is not None:
            assign(session, job, host_id)
        else:
            job.wait_reason = reason
            session.flush()
            events.publish(session, f"job:{job.id}", "waits", {"reason": reason})

    def _leave(self) -> None:
        with self._database.write() as session:
            host = session.get(Host, self._host_id)
            if host is not None:
                session.delete(host)
        self._leadership.close()
        (self._settings.home / "agent.json").unlink(missing_ok=True)


class Leadership:
    """One agent plans: the holder of the home's lock on SQLite, of an advisory lock on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._connection = database.engine.connect() if database.dialect == "postgresql" else None
        self._holds = False

    def held(self) -> bool:
        """Tell whether this agent leads, trying to; who loses the connection has lost the lead."""
        if self._connection is None:
            return True
        statement = "SELECT 1" if self._holds else f"SELECT pg_try_advisory_lock({LEADER_LOCK})"
        try:
            self._holds = bool(self._connection.exec_driver_sql(statement).scalar())
        except OperationalError:
            self._holds = False
            raise
        finally:
            self._connection.rollback()
        return self._holds

    def close(self) -> None:
        """Give the lead up, so that the next agent has it at once and not when PostgreSQL sees us gone."""
        if self._connection is not None and not self._connection.closed:
            if self._holds:
                with suppress(DBAPIError):
                    self._connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LEADER_LOCK})")
                self._holds = False
            self._connection.invalidate()
            self._connection.close()


def host_id(home: Path) -> str:
    """Name this host and home: two homes on one host are two hosts to a shared database."""
    return f"{socket.gethostname()[:60]}-{hashlib.sha256(str(home).encode()).hexdigest()[:6]}"


def capacity(settings: Settings) -> tuple[int, int]:
    """Return the CPUs and GPUs that jobs may use here; GPUs are counted without loading a GPU library."""
    cpus = settings.cpus or psutil.cpu_count() or 1
    found = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return cpus, settings.gpus if settings.gpus is not None else found


def _changes(session: Session) -> list[tuple[str, str | None, str | None]]:
    """Plan the queue; return the jobs for which something changes: the host that each starts on, or why it waits."""
    needs = (Job.id, Job.title, Job.cpus, Job.gpus, Job.owner_id, Job.wait_reason)
    rows = session.execute(select(*needs).where(Job.state == "queued").order_by(Job.rank, Job.id)).all()
    if not rows:
        return []
    made = plan([Waiting(row.id, row.title, row.cpus, row.gpus, row.owner_id) for row in rows], _rooms(session))
    found = [(row.id, made.assigned.get(row.id), made.reasons.get(row.id), row.wait_reason) for row in rows]
    return [(job_id, host, reason) for job_id, host, reason, old in found if host is not None or reason != old]


def _rooms(session: Session) -> list[Room]:
    rooms = {host.id: Room(host.id, host.cpus, host.gpus, host.cpus, host.gpus) for host in service.live_hosts(session)}
    joined = (Attempt.job_id == Job.id) & (Attempt.no == Job.attempt_no)
    live = session.execute(select(Job, Attempt.host_id).join(Attempt, joined).where(Job.state.in_(LIVE)))
    for job, host_id in live:
        if host_id in rooms:
            rooms[host_id].take(Waiting(job.id, job.title, job.cpus, job.gpus, job.owner_id))
    return list(rooms.values())
