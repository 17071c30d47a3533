"""Binds the contract of deployments to their service."""

from __future__ import annotations

from collections.abc import AsyncIterator

from workbench.core.context import Context, StreamContext
from workbench.core.schemas import Page
from workbench.jobs.schemas import LogPage, LogQuery
from workbench.serving import feed, routes, service
from workbench.serving.schemas import Deployment, DeploymentCreate, DeploymentsQuery


@routes.deploy.handler
def deploy(context: Context, model_id: str, body: DeploymentCreate) -> Deployment:
    """Serve a model version, or a model's newest version, by a job of the queue."""
    return service.deploy(context, model_id, body)


@routes.listing.handler
def listing(context: Context, query: DeploymentsQuery) -> Page[Deployment]:
    """List deployments, newest first."""
    return service.listing(context, query)


@routes.show.handler
def show(context: Context, deployment_id: str) -> Deployment:
    """Show one deployment: its phase, its engine, and why it waits."""
    return service.show(context, deployment_id)


@routes.stop.handler
def stop(context: Context, deployment_id: str) -> Deployment:
    """Stop a deployment."""
    return service.stop(context, deployment_id)


@routes.log.handler
def log(context: Context, deployment_id: str, query: LogQuery) -> LogPage:
    """Read a piece of the engine's log."""
    return service.log(context, deployment_id, query)


@routes.live.handler
def live(context: StreamContext, deployment_id: str) -> AsyncIterator[Deployment]:
    """Follow a deployment: each time that anything about it changes, until it has ended."""
    return feed.follow(context, deployment_id)
