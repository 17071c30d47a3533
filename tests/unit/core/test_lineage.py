from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from workbench.core.context import Context
from workbench.core.database import Base
from workbench.core.lineage import Edge, Ref, edges, link
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


def test_a_lineage_passes_through_shared_sources(context: Context) -> None:
    connect(context.session, "ab", "ac", "cd")
    assert set(seen(context.session, "b")) == {"ab", "ac", "cd"}


def test_a_loop_ends(context: Context) -> None:
    connect(context.session, "ab", "ba")
    assert seen(context.session, "a") == ["ab", "ba"]


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
def test_a_lineage_is_the_connected_part_of_the_graph(memory: Session, pairs: set[tuple[str, str]]) -> None:
    connect(memory, *map("".join, pairs))
    reached, grown = {"a"}, True
    while grown:
        near = {end for pair in pairs if reached & set(pair) for end in pair}
        grown = not near <= reached
        reached |= near
    assert set(seen(memory, "a")) == {"".join(pair) for pair in pairs if set(pair) <= reached}
    memory.rollback()
