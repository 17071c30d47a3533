"""Binds the contract of evaluation to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.routes import Download
from workbench.core.schemas import Page, PageQuery
from workbench.evaluation import routes, service
from workbench.evaluation.schemas import Evaluation, EvaluationSpec, ReportQuery, SamplesPage, SamplesQuery
from workbench.jobs.schemas import Job


@routes.submit.handler
def submit(context: Context, model_id: str, body: EvaluationSpec) -> Job:
    """Queue the scoring of a model version, beside a baseline when one is named."""
    return service.submit(context, model_id, body)


@routes.listing.handler
def listing(context: Context, query: PageQuery) -> Page[Evaluation]:
    """List evaluations, newest first."""
    return service.listing(context, query)


@routes.show.handler
def show(context: Context, evaluation_id: str) -> Evaluation:
    """Show one evaluation: scores and comparison."""
    return service.show(context, evaluation_id)


@routes.samples.handler
def samples(context: Context, evaluation_id: str, query: SamplesQuery) -> SamplesPage:
    """Show rows with every model's answer side by side."""
    return service.samples(context, evaluation_id, query)


@routes.report.handler
def report(context: Context, evaluation_id: str, query: ReportQuery) -> Download:
    """Download everything that is known of an evaluation, as one HTML, CSV or JSON file."""
    return service.report(context, evaluation_id, query)
