from __future__ import annotations

import importlib
import re
from typing import Any, get_args

import pytest

from workbench.accounts.roles import LIMITS, PERMISSIONS, ROLES, Limit, Role
from workbench.core.routes import ANYONE, ROUTES

for name in ("accounts", "jobs", "registry", "datasets", "training", "evaluation", "serving", "chat"):
    importlib.import_module(f"workbench.{name}.routes")


def test_every_role_is_in_the_table() -> None:
    assert set(ROLES) == set(get_args(Role))
    assert set(LIMITS) == set(get_args(Limit))


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_permission_is_a_resource_and_an_action_with_its_meaning(permission: str) -> None:
    assert re.fullmatch(r"[a-z]+:[a-z]+", permission)
    assert PERMISSIONS[permission]


def test_roles_give_only_permissions_that_exist() -> None:
    assert all(granted <= PERMISSIONS.keys() for granted in (*ROLES.values(), *LIMITS.values()))


def test_each_role_can_do_what_the_smaller_one_can() -> None:
    assert ROLES["reviewer"] < ROLES["researcher"] < ROLES["maintainer"] < ROLES["admin"] == PERMISSIONS.keys()


def test_a_reviewer_only_reads_and_talks() -> None:
    assert all(name.endswith(":read") for name in ROLES["reviewer"] - {"chat:use", "account:write"})
    assert "audit:read" not in ROLES["reviewer"]


def test_no_program_gets_a_kernel_or_an_account() -> None:
    beyond = {"kernels:use", "tokens:write", "account:write", "users:manage", "audit:read"}
    assert not any(granted & beyond for granted in LIMITS.values())
    assert LIMITS["viewer"] < LIMITS["program"]


PUBLIC = {
    "/api/auth/register",
    "/api/auth/verify",
    "/api/auth/verify/resend",
    "/api/auth/password/forgot",
    "/api/auth/password/reset",
    "/api/auth/login",
    "/api/auth/refresh",
}
KNOWN = {"/api/auth/me", "/api/auth/tickets", "/api/auth/token", "/api/auth/teams"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_needs_a_permission_from_the_table(route: Any) -> None:
    if route.permission in PERMISSIONS:
        return
    assert route.path in (PUBLIC if route.permission == ANYONE else KNOWN)
