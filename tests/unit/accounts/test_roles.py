from __future__ import annotations

import importlib
import re
from typing import get_args

import pytest

from workbench.accounts.roles import PERMISSIONS, ROLES, Role
from workbench.core.routes import ROUTES

for name in ("accounts", "jobs", "registry", "datasets", "training", "evaluation"):
    importlib.import_module(f"workbench.{name}.routes")


def test_every_role_is_in_the_table() -> None:
    assert set(ROLES) == set(get_args(Role))


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_permission_is_a_resource_and_an_action_with_its_meaning(permission: str) -> None:
    assert re.fullmatch(r"[a-z]+:[a-z]+", permission)
    assert PERMISSIONS[permission]


def test_roles_give_only_permissions_that_exist() -> None:
    assert all(granted <= PERMISSIONS.keys() for granted in ROLES.values())


def test_each_role_can_do_what_the_smaller_one_can() -> None:
    assert ROLES["reviewer"] < ROLES["program"] < ROLES["researcher"] <= ROLES["admin"] == PERMISSIONS.keys()


def test_a_reviewer_only_reads_and_talks() -> None:
    assert all(permission.endswith(":read") for permission in ROLES["reviewer"] - {"chat:use"})


@pytest.mark.parametrize("role", ["reviewer", "program"])
def test_a_kernel_is_not_for_reviewers_nor_programs(role: Role) -> None:
    assert "kernels:use" not in ROLES[role]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_needs_a_permission_from_the_table(route: object) -> None:
    public = route.path == "/api/auth/me"  # type: ignore[attr-defined]
    assert public or route.permission in PERMISSIONS  # type: ignore[attr-defined]
