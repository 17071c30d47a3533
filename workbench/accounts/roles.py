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
    "models:write": "register base models; change notes and aliases",
    "evaluations:read": "see evaluations and their samples",
    "deployments:read": "see deployments and their logs",
    "deployments:write": "deploy models and stop deployments",
    "chat:use": "talk to deployed models; keep, export and delete one's own conversations",
    "notebooks:run": "run notebooks as jobs, which is a shell on the server",
    "tokens:write": "make, list and revoke one's personal tokens",
    "kernels:use": "run kernels and terminals, which is a shell on the server",
}
READ = frozenset(name for name in PERMISSIONS if name.endswith(":read")) | {"chat:use"}
WRITE = frozenset({"datasets:write", "jobs:write", "models:write", "deployments:write", "notebooks:run"})
ROLES: dict[Role, frozenset[str]] = {
    "reviewer": READ,
    "program": READ | WRITE,
    "researcher": READ | WRITE | {"tokens:write", "kernels:use"},
    "admin": frozenset(PERMISSIONS),
}
