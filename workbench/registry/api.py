"""Binds the contract of the model registry to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.schemas import Page, PageQuery
from workbench.registry import routes, service
from workbench.registry.schemas import Lineage, Model, ModelVersion


@routes.listing.handler
def listing(context: Context, query: PageQuery) -> Page[Model]:
    """List models, newest first."""
    return service.listing(context, query)


@routes.show.handler
def show(context: Context, model_id: str) -> Model:
    """Show one model with its versions."""
    return service.show(context, model_id)


@routes.version.handler
def version(context: Context, version_id: str) -> ModelVersion:
    """Show one model version with its record."""
    return service.version(context.session, version_id)


@routes.lineage.handler
def lineage(context: Context, version_id: str) -> Lineage:
    """Show what a model version came from and what came from it."""
    return service.lineage(context, version_id)
