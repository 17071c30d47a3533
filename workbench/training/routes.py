"""The contract of training."""

from __future__ import annotations

from workbench.core.routes import get, post
from workbench.jobs.schemas import Job
from workbench.training.schemas import Preview, PreviewQuery, TrainingSpec

preview = get("/api/train/preview", permission="jobs:write", query=PreviewQuery, returns=Preview)
submit = post("/api/train/jobs", permission="jobs:write", body=TrainingSpec, returns=Job, status=202, idempotent=True)
