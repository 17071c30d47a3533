from __future__ import annotations

import re

import pytest

from workbench.core import routes
from workbench.core.schemas import PageQuery


@pytest.fixture(autouse=True)
def _own_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what these tests declare out of the product's contract."""
    monkeypatch.setattr(routes, "ROUTES", [])


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("ds_1", "ds_1"),
        ("a/b", "a%2Fb"),
        ("..", ".."),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("100%", "100%25"),
        ("é", "%C3%A9"),
    ],
)
def test_a_parameter_is_one_quoted_segment(value: str, segment: str) -> None:
    show = routes.get("/api/things/{thing_id}/rows", permission="things:read", returns=str)
    assert show.url(thing_id=value) == f"/api/things/{segment}/rows"


def test_a_missing_parameter_is_an_error() -> None:
    show = routes.get("/api/things/{thing_id}", permission=None, returns=str)
    with pytest.raises(KeyError, match="thing_id"):
        show.url()


def test_the_pattern_takes_what_url_makes_and_nothing_more() -> None:
    show = routes.get("/api/{kind}/{thing_id}", permission=None, returns=str)
    found = re.fullmatch(show.pattern(), show.url(kind="a/b", thing_id="c d"))
    assert found is not None
    assert found.groupdict() == {"kind": "a%2Fb", "thing_id": "c%20d"}
    assert show.parameters == ["kind", "thing_id"]
    assert re.fullmatch(show.pattern(), "/api/a/b/c") is None


def test_a_route_is_named_by_its_slice_and_function() -> None:
    show = routes.get("/api/things", permission=None, returns=str)
    with pytest.raises(RuntimeError, match="GET /api/things has no handler"):
        _ = show.name

    def listing() -> str:
        return ""

    listing.__module__ = "workbench.things.api"
    assert show.handler(listing) is listing
    assert show.name == "things.listing"


def test_each_kind_declares_what_its_server_needs() -> None:
    plain = routes.post("/p", permission="a:b", returns=str, body=PageQuery, status=202, idempotent=True)
    removal = routes.delete("/d", permission="a:b")
    upload = routes.upload("/u", permission="a:b", returns=str, query=PageQuery)
    socket = routes.socket("/s", permission="a:b", messages=int | str)
    declared = [(route.method, route.kind, route.status) for route in (plain, removal, upload, socket)]
    assert declared == [
        ("POST", "plain", 202),
        ("DELETE", "plain", 204),
        ("POST", "upload", 201),
        ("GET", "socket", 200),
    ]
    assert [plain, removal, upload, socket] == routes.ROUTES
    assert socket.adapter.validate_json("7") == 7
