"""Binds the contract of the job queue to its service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from workbench.core.context import Context, StreamContext
from workbench.core.schemas import Health, Page, PageQuery, Sharing
from workbench.jobs import feed, notebooks, routes, service
from workbench.jobs import queue as line
from workbench.jobs.schemas import (
    After,
    Job,
    JobsQuery,
    LogPage,
    LogQuery,
    Message,
    MetricsPage,
    NotebookCreate,
    QueuedJob,
    Reorder,
)


@routes.listing.handler
def listing(context: Context, query: JobsQuery) -> Page[Job]:
    """List jobs, newest first."""
    return service.listing(context, query)


@routes.show.handler
def show(context: Context, job_id: str) -> Job:
    """Show one job, and why it waits."""
    return service.show(context.session, job_id)


@routes.queue.handler
def queue(context: Context, query: PageQuery) -> Page[QueuedJob]:
    """List what runs, and then what waits, in the order in which it starts."""
    return line.listing(context, query)


@routes.reorder.handler
def reorder(context: Context, body: Reorder) -> QueuedJob:
    """Let a waiting job start before another, or last; it changes places only with jobs that its caller may change."""
    return line.reorder(context, body)


@routes.share.handler
def share(context: Context, job_id: str, body: Sharing) -> Job:
    """Let nobody else, a team or everyone see a job, its log, metrics and evaluation."""
    return service.change_audience(context, job_id, body)


@routes.cancel.handler
def cancel(context: Context, job_id: str) -> Job:
    """Cancel a job; a running one is asked to stop and saves a checkpoint."""
    return service.cancel(context, job_id)


@routes.resume.handler
def resume(context: Context, job_id: str) -> Job:
    """Queue a failed or cancelled job again, to continue from its newest checkpoint."""
    return service.resume(context, job_id)


@routes.log.handler
def log(context: Context, job_id: str, query: LogQuery) -> LogPage:
    """Read a piece of the newest attempt's log."""
    return service.log(context, job_id, query)


@routes.metrics.handler
def metrics(context: Context, job_id: str, query: After) -> MetricsPage:
    """Read the metrics that follow a sequence number."""
    return MetricsPage(items=service.metrics(context.session, job_id, query.after))


@routes.run_notebook.handler
def run_notebook(context: Context, body: NotebookCreate) -> Job:
    """Run a notebook as a job, with parameters of the types that it declares."""
    return notebooks.submit(context, body)


@routes.notebook.handler
def notebook(context: Context, job_id: str) -> dict[str, Any]:
    """Return the executed notebook of a notebook job, or of the one that started this job."""
    return notebooks.executed(context, job_id)


@routes.live.handler
def live(context: StreamContext, job_id: str, query: After) -> AsyncIterator[Message]:
    """Follow a job's metrics and states; `after` replays exactly what was missed."""
    return feed.follow(context, job_id, query.after)


@routes.health.handler
def health(context: Context) -> Health:
    """Tell whether the server, its database and its agent are well."""
    return service.health(context)
