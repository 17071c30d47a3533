"""A lineage drawn: what came first stands left (on a phone: above), and lines lead to what was made from it."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter

import traitlets

from workbench.core.schemas import Lineage, Ref
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style


class LineageView(Element):
    """Draws a lineage; `on_choice(ref)` hears which thing was chosen."""

    section = "lineage"
    _esm = module("lineage_view")
    _css = style("lineage_view")

    nodes = traitlets.List(traitlets.Dict()).tag(sync=True)
    edges = traitlets.List(traitlets.Dict()).tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)

    def __init__(self, on_choice: Callable[[Ref], None] | None = None, *, language: Language | None = None) -> None:
        super().__init__(language)
        self._on_choice = on_choice
        self.observe(self._chosen, "value")

    def show(self, lineage: Lineage) -> None:
        """Draw a lineage, with its first node chosen."""
        depth = layers(lineage)
        with self.hold_trait_notifications():
            self.nodes = [
                {
                    "id": _key(node),
                    "kind": node.kind,
                    "ref": node.id,
                    "label": node.label,
                    "detail": node.detail,
                    "layer": depth[_key(node)],
                }
                for node in lineage.nodes
            ]
            self.edges = [
                {"source": _key(edge.source), "target": _key(edge.target), "relation": edge.relation}
                for edge in lineage.edges
            ]
            self.value = _key(lineage.nodes[0]) if lineage.nodes else ""

    def _chosen(self, change: dict[str, str]) -> None:
        kind, _, identity = change["new"].partition(" ")
        if identity and self._on_choice is not None:
            self._on_choice(Ref(kind=kind, id=identity))


def layers(lineage: Lineage) -> dict[str, int]:
    """Return each node's layer: one more than that of the last thing it was made from; 0 for all in a loop."""
    sources: dict[str, set[str]] = {_key(node): set() for node in lineage.nodes}
    for edge in lineage.edges:
        sources[_key(edge.target)].add(_key(edge.source))
    depth: dict[str, int] = {}
    try:
        for key in TopologicalSorter(sources).static_order():
            depth[key] = 1 + max((depth[source] for source in sources[key]), default=-1)
    except CycleError:
        return dict.fromkeys(sources, 0)
    return depth


def _key(ref: Ref) -> str:
    return f"{ref.kind} {ref.id}"
