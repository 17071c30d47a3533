"""The contract of the database's upkeep."""

from __future__ import annotations

from workbench.core.routes import get, post
from workbench.jobs.schemas import Job
from workbench.maintenance.schemas import DatabaseStatus

status = get("/api/database", permission="database:manage", returns=DatabaseStatus)
back_up = post("/api/database/backups", permission="database:manage", returns=Job, status=202, idempotent=True)
drill = post("/api/database/drills", permission="database:manage", returns=Job, status=202, idempotent=True)
