"""The contract of training."""

from __future__ import annotations

from workbench.core.routes import get, post
from workbench.core.schemas import Page
from workbench.datasets.schemas import RowsPage
from workbench.jobs.schemas import Job
from workbench.training.schemas import Preview, PreviewQuery, RowModel, TrainedRowsQuery, TrainingSpec

preview = get("/api/train/preview", permission="jobs:write", query=PreviewQuery, returns=Preview)
rows = get("/api/train/versions/{version_id}/rows", permission="models:read", query=TrainedRowsQuery, returns=RowsPage)
row_models = get("/api/datasets/{dataset_id}/rows/{row_id}/models", permission="models:read", returns=Page[RowModel])
submit = post("/api/train/jobs", permission="jobs:write", body=TrainingSpec, returns=Job, status=202, idempotent=True)
