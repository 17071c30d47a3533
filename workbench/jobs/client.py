"""Jobs as a researcher holds them in a notebook."""

from __future__ import annotations

import builtins
import html
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from workbench.core.errors import Conflict
from workbench.core.http import HTTP, ServerUnreachable
from workbench.core.schemas import Page, PageQuery
from workbench.jobs import routes
from workbench.jobs.schemas import (
    After,
    Job,
    JobsQuery,
    LogPage,
    LogQuery,
    Message,
    MetricMessage,
    NotebookCreate,
    QueuedJob,
    Reorder,
    Value,
)

RECONNECT_INTERVAL = 1.0  # seconds between two tries at a server that went away


class JobFailed(Conflict):
    """The job did not succeed."""

    code = "job.failed"

    def __init__(self, detail: str, job_code: str | None) -> None:
        super().__init__(detail)
        #: The code of the job's own error.
        self.job_code = job_code


@dataclass(frozen=True)
class JobHandle:
    """A handle on one job; every question goes to the server."""

    http: HTTP
    id: str

    def job(self) -> Job:
        """Return the job as it is now."""
        return self.http.call(routes.show, job_id=self.id)

    @property
    def state(self) -> str:
        """The job's state in one word."""
        return self.job().state

    def metrics(self, after: int = 0) -> list[MetricMessage]:
        """Return the stored metric lines that follow the sequence number `after`."""
        return self.http.call(routes.metrics, job_id=self.id, query=After(after=after)).items

    def log(self, offset: int = -65_536, limit: int = 65_536) -> LogPage:
        """Return a piece of the log; a negative offset counts from its end."""
        return self.http.call(routes.log, job_id=self.id, query=LogQuery(offset=offset, limit=limit))

    def stream(self, after: int = 0) -> Iterator[Message]:
        """Yield states and metrics until the job has ended; raises `ServerUnreachable` when the server goes away."""
        return self.http.stream(routes.live, job_id=self.id, query=After(after=after))

    def follow(self, after: int = 0) -> Iterator[Message]:
        """Like `stream`, but goes on where it was whenever the server comes back."""
        while True:
            try:
                for message in self.stream(after):
                    after = message.seq if isinstance(message, MetricMessage) else after
                    yield message
            except ServerUnreachable:
                time.sleep(RECONNECT_INTERVAL)
            else:
                return

    def cancel(self) -> Job:
        """Ask the job to stop; a running one saves a checkpoint first."""
        return self.http.call(routes.cancel, job_id=self.id)

    def start_before(self, other: str | None) -> QueuedJob:
        """Let the waiting job start before another one, by its id; None: it starts last."""
        return self.http.call(routes.reorder, body=Reorder(job_id=self.id, before=other))

    def resume(self) -> Job:
        """Queue a failed or cancelled job again, to continue from its newest checkpoint."""
        return self.http.call(routes.resume, job_id=self.id)

    def wait(self, on_message: Callable[[Message], None] | None = None) -> Self:
        """Block until the job has ended; raise `JobFailed` unless it succeeded."""
        for message in self.follow():
            if on_message is not None:
                on_message(message)
        job = self.job()
        if job.state != "succeeded":
            detail = job.error or f"The job “{job.title}” was {job.state}."
            raise JobFailed(detail, job.error_code)
        return self

    def notebook(self) -> builtins.dict[str, Any]:
        """Return the executed notebook: of this notebook job, or of the one that started this job."""
        return self.http.call(routes.notebook, job_id=self.id)

    def dict(self) -> dict[str, Any]:
        """Return the job as plain data."""
        return self.job().model_dump(mode="json")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def _repr_html_(self) -> str:
        job = self.job()
        note = job.error or job.wait_reason or ""
        return f"<b>{html.escape(job.title)}</b> <code>{self.id}</code><br>{job.state} {html.escape(note)}"


class Jobs:
    """`wb.jobs`: the queue."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def list(self, kind: str | None = None, limit: int = 50) -> list[Job]:
        """Return the newest jobs."""
        return self._http.call(routes.listing, query=JobsQuery(kind=kind, limit=limit)).items

    def queue(self, limit: int = 200, cursor: str | None = None) -> Page[QueuedJob]:
        """Return a page of what runs, and then of what waits, in the order in which it starts."""
        return self._http.call(routes.queue, query=PageQuery(limit=limit, cursor=cursor))

    def run_notebook(
        self, notebook: Mapping[str, Any], parameters: Mapping[str, Value], *, title: str = "Notebook"
    ) -> JobHandle:
        """Queue a notebook (its JSON) as a job, and return at once."""
        body = NotebookCreate(notebook=dict(notebook), parameters=dict(parameters), title=title)
        job = self._http.call(routes.run_notebook, body=body, idempotency_key=uuid.uuid4().hex)
        return JobHandle(self._http, job.id)

    def __getitem__(self, job_id: str) -> JobHandle:
        return JobHandle(self._http, job_id)
