"""Two servers on one database: what people do at once leaves what some order of theirs would have left.

Each example does up to five things at once through both servers, and looks for an order in which a plain model of them
gives the same answers and the same end. `WORKBENCH_LONG=1` takes ten times as many.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import postgresql
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from people import make_user
from servers import Lab, running_lab
from sqlalchemy import make_url

from workbench.accounts import audit
from workbench.core.database import Database
from workbench.core.ids import new_id
from workbench.core.settings import Settings
from workbench.registry.tables import Model, ModelVersion

EXAMPLES = 100 if os.environ.get("WORKBENCH_LONG") else 20
PHASES = (Phase.explicit, Phase.generate)  # a race that failed once need not fail again while it is made smaller
NOTEBOOK = {
    "nbformat": 4, "nbformat_minor": 5, "metadata": {},
    "cells": [{"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": "n = 1", "outputs": [],
               "execution_count": None}],
}  # fmt: skip
Act = tuple[str, Any]
ACTS: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("title"), st.sampled_from("xy")),
    st.tuples(st.just("version"), st.sampled_from("xyz")),
    st.tuples(st.just("submit"), st.sampled_from("xy")),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("reorder"), st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2, None]))),
    st.tuples(st.just("members"), st.sampled_from([(), (0,), (1,), (0, 1)])),
    st.tuples(st.just("alias"), st.tuples(st.sampled_from([0, 1]), st.sampled_from([(), ("a",), ("a", "b")]))),
)


@dataclass
class World:
    """The things of one example, on the servers; and, as plain values, what a model of them says."""

    ids: dict[str, Any]
    title: str = "begin"
    head: str = "begin"
    submitted: set[str] = field(default_factory=set)
    job: str = "queued"
    line: tuple[int, ...] = (0, 1, 2)
    members: frozenset[int] = frozenset()
    aliases: dict[str, int] = field(default_factory=dict)

    def after(self, act: Act) -> tuple[int, World]:
        """Return the status that an act is answered with, and the world that it leaves."""
        name, value = act
        new = World(self.ids, self.title, self.head, {*self.submitted}, self.job)
        new.line, new.members, new.aliases = self.line, self.members, dict(self.aliases)
        if name == "title":
            new.title = value
        elif name == "version":
            if self.head != "begin":
                return 409, self
            new.head = value
            return 201, new
        elif name == "submit":
            new.submitted.add(value)
            return 202, new
        elif name in ("cancel", "resume"):
            begun, new.job = {"cancel": ("queued", "cancelled"), "resume": ("cancelled", "queued")}[name]
            if self.job != begun:
                return 409, self
        elif name == "reorder":
            new.line = put(self.line, *value)
        elif name == "members":
            new.members = frozenset(value)
        else:
            version, names = value
            new.aliases = {alias: at for alias, at in self.aliases.items() if at != version and alias not in names}
            new.aliases |= dict.fromkeys(names, version)
        return 200, new

    def state(self) -> tuple[Any, ...]:
        aliases = tuple(sorted(self.aliases.items()))
        return self.title, self.head, len(self.submitted), self.job, self.line, self.members, aliases


def put(line: tuple[int, ...], moved: int, before: int | None) -> tuple[int, ...]:
    """Return a line in which one stands before another, or last."""
    rest = [one for one in line if one != moved or moved == before]
    if moved != before:
        rest.insert(len(rest) if before is None else rest.index(before), moved)
    return tuple(rest)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def labs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Lab]]:
    home = tmp_path_factory.mktemp("two") / "home"
    home.mkdir()
    if request.param == "sqlite":
        Database(f"sqlite:///{home / 'workbench.db'}").close()
        yield from both(home)
        return
    with postgresql.empty_database(request.getfixturevalue("postgresql_url")) as url:
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        Settings(home=home).keep("database_url", plain)
        yield from both(home)


def both(home: Path) -> Iterator[tuple[Lab, Lab]]:
    variables = {"WORKBENCH_AGENT": "external"}
    with running_lab(home, **variables) as one, running_lab(home, **variables) as two:
        yield one, two


def call(lab: Lab, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {lab.token}"} | options.pop("headers", {})
    return httpx.request(method, f"{lab.url}api/{path}", headers=headers, timeout=60, **options)


def begin(lab: Lab) -> World:
    """Make the things of an example."""
    name = new_id("world")
    rows = b'{"prompt": "a", "completion": "b"}\n'
    query = {"filename": "rows.jsonl", "name": name, "test_fraction": 0}
    dataset = call(lab, "POST", "datasets", params=query, content=rows).json()
    conversation = call(lab, "POST", "chat/conversations", json={"title": "begin"}).json()["id"]
    job, *line = [call(lab, "POST", "jobs/notebooks", json={"notebook": NOTEBOOK}).json()["id"] for _ in range(4)]
    team = call(lab, "POST", "auth/teams", json={"name": name}).json()["id"]
    database = Database(Settings(home=lab.home).resolved_database_url())
    with database.write() as session:
        people = [make_user(session, new_id("user")).id for _ in range(2)]
        model = Model(id=new_id("model"), owner_id="owner", name=name, audience="private")
        session.add(model)
        session.flush()
        versions = [new_id("mv") for _ in range(2)]
        for number, version in enumerate(versions, 1):
            common = {"kind": "base", "path": "/nowhere", "author_id": "owner", "author_name": "o", "record": {}}
            session.add(ModelVersion(id=version, model_id=model.id, number=number, notes="", **common))
    database.close()
    ids = {"dataset": dataset["id"], "parent": dataset["head"]["id"], "conversation": conversation, "job": job}
    return World(ids | {"line": line, "team": team, "people": people, "versions": versions, "keys": name})


def do(lab: Lab, world: World, act: Act) -> int:
    """Do a thing, and return the answer's status."""
    (name, value), ids = act, world.ids
    if name == "title":
        answer = call(lab, "PATCH", f"chat/conversations/{ids['conversation']}", json={"title": value})
    elif name == "version":
        query = {
            "filename": "rows.jsonl",
            "parent": ids["parent"],
            "test_fraction": 0,
            "split_seed": 0,
            "message": value,
        }
        rows = b'{"prompt": "a", "completion": "%s"}\n' % value.encode()
        answer = call(lab, "POST", f"datasets/{ids['dataset']}/versions", params=query, content=rows)
    elif name == "submit":
        headers = {"Idempotency-Key": f"{ids['keys']}{value}"}
        body = {"notebook": NOTEBOOK, "title": f"{ids['keys']}{value}"}
        answer = call(lab, "POST", "jobs/notebooks", json=body, headers=headers)
    elif name in ("cancel", "resume"):
        answer = call(lab, "POST", f"jobs/{ids['job']}/{name}")
    elif name == "reorder":
        moved, before = value
        body = {"job_id": ids["line"][moved], "before": None if before is None else ids["line"][before]}
        answer = call(lab, "POST", "train/queue/reorder", json=body)
    elif name == "members":
        body = {"user_ids": [ids["people"][index] for index in value]}
        answer = call(lab, "PUT", f"auth/teams/{ids['team']}/members", json=body)
    else:
        version, names = value
        answer = call(lab, "PATCH", f"models/versions/{ids['versions'][version]}", json={"aliases": list(names)})
    assert answer.status_code < 500, answer.text
    # a conflict of the database itself asks to try again: the act was not done, and is done now
    if answer.status_code == 409 and answer.json()["code"] == "conflict":
        return do(lab, world, act)
    return answer.status_code


def look(lab: Lab, world: World) -> tuple[Any, ...]:
    """Return the end of an example, as a world's state."""
    ids = world.ids
    title = call(lab, "GET", f"chat/conversations/{ids['conversation']}").json()["title"]
    head = call(lab, "GET", f"datasets/{ids['dataset']}").json()["head"]
    history = call(lab, "GET", f"datasets/{ids['dataset']}/versions").json()["items"]
    assert [one["number"] for one in history] == list(range(len(history), 0, -1))
    jobs = call(lab, "GET", "jobs", params={"limit": 200}).json()["items"]
    mine = sum(job["title"].startswith(ids["keys"]) for job in jobs)
    state = call(lab, "GET", f"jobs/{ids['job']}").json()["state"]
    teams = call(lab, "GET", "auth/teams").json()["items"]
    members = next(team["members"] for team in teams if team["id"] == ids["team"])
    found = {}
    for index, version in enumerate(ids["versions"]):
        found |= dict.fromkeys(call(lab, "GET", f"models/versions/{version}").json()["aliases"], index)
    there = frozenset(ids["people"].index(member["id"]) for member in members)
    line = tuple(ids["line"].index(job_id) for job_id in waiting(lab) if job_id in ids["line"])
    return title, head["message"] or "begin", mine, state, line, there, tuple(sorted(found.items()))


def waiting(lab: Lab) -> Iterator[str]:
    """Yield the ids of the waiting jobs in their order, page by page."""
    cursor: str | None = None
    while True:
        page = call(lab, "GET", "train/queue", params={"limit": 200} | ({"cursor": cursor} if cursor else {})).json()
        yield from (one["job"]["id"] for one in page["items"])
        if (cursor := page["next_cursor"]) is None:
            return


def at_once(labs: tuple[Lab, Lab], world: World, acts: list[Act]) -> list[int]:
    barrier = threading.Barrier(len(acts))

    def one(index: int) -> int:
        barrier.wait()
        return do(labs[index % 2], world, acts[index])

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(one, range(len(acts))))


def orders(world: World, acts: list[Act]) -> Iterator[tuple[list[int], tuple[Any, ...]]]:
    """Yield the answers and the end of every order."""
    for order in itertools.permutations(range(len(acts))):
        now, answers = world, [0] * len(acts)
        for index in order:
            answers[index], now = now.after(acts[index])
        yield answers, now.state()


def test_what_is_done_at_once_is_what_some_order_would_do(labs: tuple[Lab, Lab]) -> None:
    seen: list[int] = []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(acts=st.lists(ACTS, min_size=2, max_size=5))
    def check(acts: list[Act]) -> None:
        world = begin(labs[0])
        answers = at_once(labs, world, acts)
        end = look(labs[1], world)
        assert (answers, end) in list(orders(world, acts)), (acts, answers, end)
        seen.append(len(acts))

    check()
    database = Database(Settings(home=labs[0].home).resolved_database_url())
    with database.read() as session:
        assert audit.verify(session).holds
    database.close()
    print(f"{database.dialect}: {len(seen)} examples of {sum(seen)} acts")
