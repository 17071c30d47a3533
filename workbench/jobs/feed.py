"""The live stream of a job: stored metrics first, then the tail of the attempt's file, and every change of state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from workbench.core.context import StreamContext
from workbench.core.engines import DatabaseAway
from workbench.jobs import service
from workbench.jobs.files import AttemptFolder
from workbench.jobs.schemas import ENDED, Job, Message, MetricLine, MetricMessage, ResumedMessage, StateMessage

POLL_INTERVAL = 0.05  # seconds between two looks at the file
WAITING_INTERVAL = 2.0  # seconds between two looks at a waiting job: why it waits may change without it


@dataclass
class Tail:
    """Reads the metric lines of one attempt that a subscriber has not seen."""

    home: Path
    job_id: str
    attempt_no: int
    seen: int
    offset: int = 0
    announced: bool = False

    def read(self) -> Iterator[Message]:
        """Yield what was appended since the last call."""
        folder = AttemptFolder(self.home, self.job_id, self.attempt_no)
        lines, self.offset = folder.lines(self.offset)
        if lines and not self.announced:
            yield from self._resumption(folder)
        for line in parse(lines):
            if line.seq > self.seen:
                self.seen = line.seq
                yield MetricMessage(attempt_no=self.attempt_no, **line.model_dump())

    def _resumption(self, folder: AttemptFolder) -> Iterator[Message]:
        self.announced = True
        resumed = folder.read("resume")
        if resumed is not None:
            yield ResumedMessage(attempt_no=self.attempt_no, step=int(resumed["step"]))


def parse(lines: list[bytes]) -> Iterator[MetricLine]:
    """Yield the lines that are metrics; a torn one, left by a killed writer, is passed over."""
    for line in lines:
        try:
            yield MetricLine.model_validate_json(line)
        except ValidationError:
            continue


async def follow(context: StreamContext, job_id: str, after: int) -> AsyncIterator[Message]:
    """Yield the job's state, the metrics beyond `after` and all that follows, until the job has ended."""
    with context.bus.subscribe(f"job:{job_id}") as mailbox:
        job, messages, tail = await asyncio.to_thread(_replay, context, job_id, after)
        yield StateMessage(job=job)
        for message in messages:
            yield message
        moved, looked = False, time.monotonic()
        while True:
            for message in tail.read():
                yield message
            if job.state in ENDED:
                return
            moved = await mailbox.wait(POLL_INTERVAL) or moved
            if moved or (job.state == "queued" and time.monotonic() - looked > WAITING_INTERVAL):
                looked, seen = time.monotonic(), job
                try:
                    job = await asyncio.to_thread(_show, context, job_id)
                except DatabaseAway:
                    continue  # metrics come from the file meanwhile
                if not moved and job == seen:
                    continue
                moved = False
                for message in tail.read():
                    yield message
                yield StateMessage(job=job)
                if job.attempt_no != tail.attempt_no:
                    tail = Tail(context.settings.home, job_id, job.attempt_no, tail.seen)


def _show(context: StreamContext, job_id: str) -> Job:
    with context.read() as reading:
        return service.show(reading.session, job_id)


def _replay(context: StreamContext, job_id: str, after: int) -> tuple[Job, list[Message], Tail]:
    with context.read() as reading:
        session = reading.session
        job = service.show(session, job_id)
        attempts = service.attempts(
            session, job_id
        )  # before the lines: an older offset repeats, a newer one would skip
        lines = service.metrics(session, job_id, after, limit=None)
    newest = attempts[-1] if attempts else None
    messages: list[Message] = [
        ResumedMessage(attempt_no=attempt.no, step=attempt.resumed_from_step)
        for attempt in attempts
        if attempt.resumed_from_step is not None and attempt.first_seq >= after
    ]
    seen, offset = lines[-1].seq if lines else after, newest.metrics_offset if newest is not None else 0
    tail = Tail(context.settings.home, job_id, job.attempt_no, seen, offset)
    tail.announced = any(attempt.no == job.attempt_no and attempt.resumed_from_step is not None for attempt in attempts)
    return job, [*messages, *lines], tail
