"""The contract of training."""

from __future__ import annotations

from workbench.core.routes import post
from workbench.jobs.schemas import Job
from workbench.training.schemas import TrainingSpec

submit = post("/api/train/jobs", permission="jobs:write", body=TrainingSpec, returns=Job, status=202, idempotent=True)
