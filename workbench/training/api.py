"""Binds the contract of training to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.schemas import Page
from workbench.datasets.errors import RowNotFound
from workbench.datasets.schemas import RowsPage
from workbench.jobs.schemas import Job
from workbench.training import lineage, routes, service
from workbench.training.schemas import Preview, PreviewQuery, RowModel, TrainedRowsQuery, TrainingSpec


@routes.preview.handler
def preview(context: Context, query: PreviewQuery) -> Preview:
    """Show rows as tokens under a base model's chat template, and which of them are trained."""
    return service.preview(context, query)


@routes.rows.handler
def rows(context: Context, version_id: str, query: TrainedRowsQuery) -> RowsPage:
    """Read a page of the very rows that trained a model version."""
    return lineage.trained_rows(context, version_id, query)


@routes.row_models.handler
def row_models(context: Context, dataset_id: str, row_id: str) -> Page[RowModel]:
    """List the model versions that were trained on a row, and those made from them."""
    if not (row_id.isascii() and row_id.isdecimal() and len(row_id) < 10):
        raise RowNotFound("A row's id is a number below a thousand million.")
    return lineage.models_of_row(context, dataset_id, int(row_id))


@routes.submit.check
def check(context: Context, body: TrainingSpec) -> None:
    """Refuse a run that could not train; counting tokens must not keep other writers waiting."""
    service.check(context, body)


@routes.submit.handler
def submit(context: Context, body: TrainingSpec) -> Job:
    """Queue a fine-tuning run."""
    return service.submit(context, body)
