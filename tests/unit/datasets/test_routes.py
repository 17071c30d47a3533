from __future__ import annotations

from workbench.core.routes import Route
from workbench.datasets import api, routes

DECLARED = [value for value in vars(routes).values() if isinstance(value, Route)]


def test_every_route_is_bound_and_documented() -> None:
    assert api
    assert len(DECLARED) == 8
    assert all(route.endpoint is not None and route.endpoint.__doc__ for route in DECLARED)


def test_reading_and_writing_have_permissions_of_their_own() -> None:
    assert {(route.method, route.permission) for route in DECLARED} == {
        ("GET", "datasets:read"),
        ("POST", "datasets:write"),
        ("PATCH", "datasets:write"),
    }


def test_the_paths_are_those_of_the_requirements() -> None:
    assert {f"{route.method} {route.path}" for route in DECLARED} == {
        "GET /api/datasets",
        "POST /api/datasets",
        "GET /api/datasets/{dataset_id}",
        "PATCH /api/datasets/{dataset_id}",
        "GET /api/datasets/{dataset_id}/versions",
        "POST /api/datasets/{dataset_id}/versions",
        "GET /api/datasets/versions/{version_id}",
        "GET /api/datasets/versions/{version_id}/rows",
    }
