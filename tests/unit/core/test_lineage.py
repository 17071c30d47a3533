from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from workbench.core.context import Context
from workbench.core.database import Base
from workbench.core.lineage import DESCRIBERS, Edge, Ref, describes, edges, lineage, link
from workbench.core.schemas import Node
from workbench.core.tables import LineageEdge


def thing(name: str) -> Ref:
    return Ref(kind="thing", id=name)


def connect(session: Session, *pairs: str) -> None:
    for source, target in pairs:
        link(session, thing(source), thing(target), "made")


def seen(session: Session, start: str) -> list[str]:
    return [edge.source.id + edge.target.id for edge in edges(session, thing(start))]


def test_a_lineage_reaches_up_and_down(context: Context) -> None:
    connect(context.session, "ab", "bc", "cd", "xy")
    assert seen(context.session, "b") == ["ab", "bc", "cd"]


def test_what_only_shares_a_source_is_not_in_a_lineage(context: Context) -> None:
    connect(context.session, "ab", "ac", "cd", "eb", "bf", "gf")
    assert set(seen(context.session, "b")) == {"ab", "eb", "bf"}


def test_a_lineage_names_what_a_slice_can_name(context: Context) -> None:
    @describes("named")
    def name(session: Session, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        return {each: (f"The {each}", "2 rows") for each in ids if each != "gone"}

    for source in ("a", "gone"):
        link(context.session, Ref(kind="named", id=source), thing("b"), "made")
    nodes = lineage(context.session, thing("b")).nodes
    del DESCRIBERS["named"]
    assert nodes == [
        Node(kind="thing", id="b", label="b", detail=""),
        Node(kind="named", id="a", label="The a", detail="2 rows"),
        Node(kind="named", id="gone", label="gone", detail=""),
    ]


def test_a_loop_ends(context: Context) -> None:
    connect(context.session, "ab", "ba")
    assert sorted(seen(context.session, "a")) == ["ab", "ba"]


def test_a_link_is_kept_once(context: Context) -> None:
    connect(context.session, "ab", "ab")
    link(context.session, thing("a"), thing("b"), "tested")
    assert [edge.relation for edge in edges(context.session, thing("a"))] == ["made", "tested"]


def test_things_of_another_kind_with_the_same_id_are_other_things(context: Context) -> None:
    other = Ref(kind="other", id="a")
    link(context.session, other, thing("b"), "made")
    connect(context.session, "ac")
    assert edges(context.session, thing("a")) == [Edge(source=thing("a"), target=thing("c"), relation="made")]


def test_a_thing_without_links_has_no_lineage(context: Context) -> None:
    assert edges(context.session, thing("z")) == []


@pytest.fixture(scope="module")
def memory() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine, tables=[LineageEdge.__table__])  # type: ignore[list-item]
    with Session(engine) as session:
        yield session
    engine.dispose()


@given(pairs=st.sets(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=8))
def test_a_lineage_is_what_leads_to_a_thing_and_from_it(memory: Session, pairs: set[tuple[str, str]]) -> None:
    connect(memory, *map("".join, pairs))
    above, below = {"a"}, {"a"}
    for _ in "abcdefg":
        above |= {source for source, target in pairs if target in above}
        below |= {target for source, target in pairs if source in below}
    expected = {(source, target) for source, target in pairs if target in above or source in below}
    assert set(seen(memory, "a")) == {"".join(pair) for pair in expected}
    memory.rollback()
