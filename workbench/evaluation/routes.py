"""The contract of evaluation."""

from __future__ import annotations

from workbench.core.routes import download, get, post
from workbench.core.schemas import Page, PageQuery
from workbench.evaluation.schemas import Evaluation, EvaluationSpec, ReportQuery, SamplesPage, SamplesQuery
from workbench.jobs.schemas import Job

submit = post(
    "/api/evaluation/models/{model_id}",
    permission="jobs:write",
    body=EvaluationSpec,
    returns=Job,
    status=202,
    idempotent=True,
)
listing = get("/api/evaluation", permission="evaluations:read", query=PageQuery, returns=Page[Evaluation])
show = get("/api/evaluation/{evaluation_id}", permission="evaluations:read", returns=Evaluation)
samples = get(
    "/api/evaluation/{evaluation_id}/samples", permission="evaluations:read", query=SamplesQuery, returns=SamplesPage
)
report = download("/api/evaluation/{evaluation_id}/report", permission="evaluations:read", query=ReportQuery)
