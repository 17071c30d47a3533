"""The permission table: roles are sets of `resource:action` permissions."""

from __future__ import annotations

from typing import Literal

Role = Literal["reviewer", "researcher", "maintainer", "admin"]
#: What the token of a program is limited to, whatever its owner's role is.
Limit = Literal["viewer", "program"]

#: Every permission, and what it allows.
PERMISSIONS = {
    "datasets:read": "see datasets, their versions and rows",
    "datasets:write": "create datasets and versions",
    "jobs:read": "see jobs, their logs and metrics",
    "jobs:write": "submit, reorder, cancel and resume jobs",
    "models:read": "see models, their versions and lineage",
    "models:write": "register base models; change notes and aliases",
    "evaluations:read": "see evaluations and their samples",
    "deployments:read": "see deployments and their logs",
    "deployments:write": "deploy models and stop deployments",
    "chat:use": "talk to deployed models; keep, export and delete one's own conversations",
    "notebooks:run": "run notebooks as jobs, which is a shell on the server",
    "tokens:write": "make, list and revoke one's personal tokens",
    "kernels:use": "run kernels and terminals, which is a shell on the server",
    "account:write": "change one's own profile and password, and end one's logins",
    "workspace:manage": "see, change and share what belongs to others",
    "users:manage": "see and change accounts, teams and invitations",
    "database:manage": "see the state of the database; back it up and drill the backups",
    "audit:read": "read and verify the audit log",
}
READ = frozenset({"datasets:read", "jobs:read", "models:read", "evaluations:read", "deployments:read", "chat:use"})
WRITE = frozenset({"datasets:write", "jobs:write", "models:write", "deployments:write", "notebooks:run"})
RESEARCH = READ | WRITE | {"account:write", "tokens:write", "kernels:use"}
ROLES: dict[Role, frozenset[str]] = {
    "reviewer": READ | {"account:write"},
    "researcher": RESEARCH,
    "maintainer": RESEARCH | {"workspace:manage"},
    "admin": frozenset(PERMISSIONS),
}
LIMITS: dict[Limit, frozenset[str]] = {
    "viewer": READ,
    "program": READ | WRITE | {"workspace:manage"},
}
