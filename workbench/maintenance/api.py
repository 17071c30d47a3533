"""Binds the contract of the database's upkeep to its service."""

from __future__ import annotations

from workbench.core.context import Context
from workbench.jobs.schemas import Job
from workbench.maintenance import routes, service
from workbench.maintenance.schemas import DatabaseStatus


@routes.status.handler
def status(context: Context) -> DatabaseStatus:
    """Show the database: its engine, size, connections and revision, and the last backups and drills."""
    return service.status(context)


@routes.back_up.handler
def back_up(context: Context) -> Job:
    """Queue a backup into the folder of backups."""
    return service.back_up(context)


@routes.drill.handler
def drill(context: Context) -> Job:
    """Queue a drill: the newest backup is restored into a scratch place and compared."""
    return service.drill(context)
