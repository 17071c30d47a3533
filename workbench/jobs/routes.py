"""The contract of the job queue."""

from __future__ import annotations

from typing import Any

from workbench.core.routes import get, patch, post, socket
from workbench.core.schemas import Health, Page, PageQuery, Sharing
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

listing = get("/api/jobs", permission="jobs:read", query=JobsQuery, returns=Page[Job])
show = get("/api/jobs/{job_id}", permission="jobs:read", returns=Job)
queue = get("/api/train/queue", permission="jobs:read", query=PageQuery, returns=Page[QueuedJob])
reorder = post("/api/train/queue/reorder", permission="jobs:write", body=Reorder, returns=QueuedJob)
share = patch("/api/jobs/{job_id}", permission="jobs:write", body=Sharing, returns=Job)
cancel = post("/api/jobs/{job_id}/cancel", permission="jobs:write", returns=Job)
resume = post("/api/jobs/{job_id}/resume", permission="jobs:write", returns=Job)
log = get("/api/jobs/{job_id}/log", permission="jobs:read", query=LogQuery, returns=LogPage)
metrics = get("/api/jobs/{job_id}/metrics", permission="jobs:read", query=After, returns=MetricsPage)
run_notebook = post(
    "/api/jobs/notebooks",
    permission="notebooks:run",
    body=NotebookCreate,
    returns=Job,
    status=202,
    idempotent=True,
)
notebook = get("/api/jobs/{job_id}/notebook", permission="jobs:read", returns=dict[str, Any])
live = socket("/ws/training/{job_id}/metrics", permission="jobs:read", query=After, messages=Message)
health = get("/api/workbench/health", permission="jobs:read", returns=Health)
