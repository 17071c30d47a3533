"""The permission table: roles are sets of `resource:action` permissions."""

from __future__ import annotations

from typing import Literal

Role = Literal["reviewer", "program", "researcher", "admin"]

#: Every permission, and what it allows.
PERMISSIONS = {
    "datasets:read": "see datasets, their versions and rows",
    "datasets:write": "create datasets and versions",
    "jobs:read": "see jobs, their logs and metrics",
    "jobs:write": "submit, cancel and resume jobs",
    "models:read": "see models, their versions and lineage",
    "evaluations:read": "see evaluations and their samples",
    "notebooks:run": "run notebooks as jobs, which is a shell on the server",
    "tokens:write": "make, list and revoke one's personal tokens",
    "kernels:use": "run kernels and terminals, which is a shell on the server",
}
READ = frozenset(name for name in PERMISSIONS if name.endswith(":read"))
ROLES: dict[Role, frozenset[str]] = {
    "reviewer": READ,
    "program": READ | {"datasets:write", "jobs:write", "notebooks:run"},
    "researcher": READ | {"datasets:write", "jobs:write", "notebooks:run", "tokens:write", "kernels:use"},
    "admin": frozenset(PERMISSIONS),
}
