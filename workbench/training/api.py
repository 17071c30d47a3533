"""Binds the contract of training to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.jobs.schemas import Job
from workbench.training import routes, service
from workbench.training.schemas import Preview, PreviewQuery, TrainingSpec


@routes.preview.handler
def preview(context: Context, query: PreviewQuery) -> Preview:
    """Show rows as tokens under a base model's chat template, and which of them are trained."""
    return service.preview(context, query)


@routes.submit.check
def check(context: Context, body: TrainingSpec) -> None:
    """Refuse a run that could not train; counting tokens must not keep other writers waiting."""
    service.check(context, body)


@routes.submit.handler
def submit(context: Context, body: TrainingSpec) -> Job:
    """Queue a fine-tuning run."""
    return service.submit(context, body)
