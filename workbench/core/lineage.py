"""Lineage: which thing went into which, across slices; each slice says how the things it owns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from workbench.core.schemas import Edge, Lineage, Node, Ref
from workbench.core.tables import LineageEdge

#: Returns, for some ids of a kind, each thing's label and what else helps to recognise it.
Describe = Callable[[Session, Iterable[str]], dict[str, tuple[str, str]]]

DESCRIBERS: dict[str, Describe] = {}


def describes(kind: str) -> Callable[[Describe], Describe]:
    """Register the function that names the things of a kind."""

    def register(function: Describe) -> Describe:
        DESCRIBERS[kind] = function
        return function

    return register


def link(session: Session, source: Ref, target: Ref, relation: str) -> None:
    """Record that `source` went into `target`; a repeated call changes nothing."""
    values = {
        "source_kind": source.kind,
        "source_id": source.id,
        "target_kind": target.kind,
        "target_id": target.id,
        "relation": relation,
    }
    if session.scalar(select(LineageEdge.id).filter_by(**values)) is None:
        session.add(LineageEdge(**values))


def lineage(session: Session, ref: Ref) -> Lineage:
    """Return all that `ref` came from and all that came from it, with names."""
    found = edges(session, ref)
    refs = list(dict.fromkeys([ref, *(end for edge in found for end in (edge.source, edge.target))]))
    return Lineage(nodes=_named(session, refs), edges=found)


def edges(session: Session, ref: Ref) -> list[Edge]:
    """Return every edge on a way that leads to `ref` or from it, nearest first.

    What only shares a source with `ref`, such as another model of the same base, is no part of its lineage.
    """
    found = _walk(session, ref, "target") | _walk(session, ref, "source")
    return [_edge(edge) for edge in found.values()]


def _walk(session: Session, ref: Ref, end: Literal["source", "target"]) -> dict[int, LineageEdge]:
    """Follow the edges whose `end` was reached, away from it."""
    other = {"source": "target", "target": "source"}[end]
    found: dict[int, LineageEdge] = {}
    frontier, seen = [ref], set[Ref]()
    while frontier := [each for each in dict.fromkeys(frontier) if each not in seen]:
        seen.update(frontier)
        fresh = _touching(session, frontier, end)
        found |= {edge.id: edge for edge in fresh}
        frontier = [_end(edge, other) for edge in fresh]
    return found


def _touching(session: Session, refs: list[Ref], end: str) -> list[LineageEdge]:
    kind, identity = getattr(LineageEdge, f"{end}_kind"), getattr(LineageEdge, f"{end}_id")
    same = [(kind == ref.kind) & (identity == ref.id) for ref in refs]
    batches = [same[start : start + 200] for start in range(0, len(same), 200)]
    return [edge for batch in batches for edge in session.scalars(select(LineageEdge).where(or_(*batch)))]


def _named(session: Session, refs: list[Ref]) -> list[Node]:
    kinds = {ref.kind for ref in refs}
    names = {
        kind: DESCRIBERS[kind](session, [ref.id for ref in refs if ref.kind == kind])
        for kind in kinds
        if kind in DESCRIBERS
    }
    labels = [names.get(ref.kind, {}).get(ref.id, (ref.id, "")) for ref in refs]
    return [
        Node(kind=ref.kind, id=ref.id, label=label, detail=detail)
        for ref, (label, detail) in zip(refs, labels, strict=True)
    ]


def _end(edge: LineageEdge, end: str) -> Ref:
    return Ref(kind=getattr(edge, f"{end}_kind"), id=getattr(edge, f"{end}_id"))


def _edge(row: LineageEdge) -> Edge:
    return Edge(source=_end(row, "source"), target=_end(row, "target"), relation=row.relation)
