"""Lineage edges: which thing went into which, across slices."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from workbench.core.schemas import Edge, Ref
from workbench.core.tables import LineageEdge


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


def edges(session: Session, ref: Ref) -> list[Edge]:
    """Return every edge that can be reached from `ref`, upstream and downstream, nearest first."""
    found: dict[int, LineageEdge] = {}
    frontier, seen = [(ref.kind, ref.id)], set[tuple[str, str]]()
    while frontier:
        kind, identity = frontier.pop(0)
        if (kind, identity) in seen:
            continue
        seen.add((kind, identity))
        for edge in _touching(session, kind, identity):
            found[edge.id] = edge
            frontier += [(edge.source_kind, edge.source_id), (edge.target_kind, edge.target_id)]
    return [_edge(edge) for edge in found.values()]


def _touching(session: Session, kind: str, identity: str) -> list[LineageEdge]:
    source = (LineageEdge.source_kind == kind) & (LineageEdge.source_id == identity)
    target = (LineageEdge.target_kind == kind) & (LineageEdge.target_id == identity)
    return list(session.scalars(select(LineageEdge).where(or_(source, target)).order_by(LineageEdge.id)))


def _edge(row: LineageEdge) -> Edge:
    return Edge(
        source=Ref(kind=row.source_kind, id=row.source_id),
        target=Ref(kind=row.target_kind, id=row.target_id),
        relation=row.relation,
    )
