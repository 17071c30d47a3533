"""Binds the contract of the model registry to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.core.schemas import Lineage, Page, PageQuery, Sharing
from workbench.registry import routes, service
from workbench.registry.schemas import Model, ModelCreate, ModelVersion, VersionUpdate


@routes.listing.handler
def listing(context: Context, query: PageQuery) -> Page[Model]:
    """List models with their versions, newest first."""
    return service.listing(context, query)


@routes.register.handler
def register(context: Context, body: ModelCreate) -> ModelVersion:
    """Register a base model: a folder on the server, or a model in its Hugging Face cache."""
    return service.resolve(context, body.base)


@routes.show.handler
def show(context: Context, model_id: str) -> Model:
    """Show a model with its versions."""
    return service.show(context, model_id)


@routes.share.handler
def share(context: Context, model_id: str, body: Sharing) -> Model:
    """Let nobody else, a team or everyone see a model with all its versions."""
    return service.change_audience(context, model_id, body)


@routes.versions.handler
def versions(context: Context, model_id: str, query: PageQuery) -> Page[ModelVersion]:
    """List the versions of a model, newest first."""
    return service.versions(context, model_id, query)


@routes.version.handler
def version(context: Context, version_id: str) -> ModelVersion:
    """Show one model version with all that is recorded about it."""
    return service.version(context.session, version_id)


@routes.update.handler
def update(context: Context, version_id: str, body: VersionUpdate) -> ModelVersion:
    """Change the notes or the aliases of a version."""
    return service.update(context, version_id, body)


@routes.lineage.handler
def lineage(context: Context, version_id: str) -> Lineage:
    """Show what a version came from and what came from it."""
    return service.lineage(context, version_id)
