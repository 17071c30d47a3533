from __future__ import annotations

from workbench.core.schemas import Edge, Lineage, Node, Ref
from workbench.core.widgets.lineage_view import LineageView, layers


def graph(*pairs: str) -> Lineage:
    names = sorted({name for pair in pairs for name in pair})
    nodes = [Node(kind="thing", id=name, label=name.upper(), detail="") for name in names]
    ends = [(Ref(kind="thing", id=source), Ref(kind="thing", id=target)) for source, target in pairs]
    return Lineage(nodes=nodes, edges=[Edge(source=source, target=target, relation="made") for source, target in ends])


def depth(*pairs: str) -> dict[str, int]:
    return {key.split()[1]: layer for key, layer in layers(graph(*pairs)).items()}


def test_a_thing_stands_behind_all_that_it_was_made_from() -> None:
    assert depth("ab", "bc", "ac", "cd") == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_a_loop_is_drawn_in_one_layer() -> None:
    assert depth("ab", "ba") == {"a": 0, "b": 0}


def test_showing_a_lineage_chooses_its_subject() -> None:
    chosen: list[Ref] = []
    view = LineageView(chosen.append, language="en")
    view.show(graph("ab"))
    assert [(node["label"], node["layer"]) for node in view.nodes] == [("A", 0), ("B", 1)]
    assert view.edges == [{"source": "thing a", "target": "thing b", "relation": "made"}]
    assert view.value == "thing a"
    view.value = "thing b"
    assert [ref.id for ref in chosen] == ["a", "b"]


def test_a_thing_without_lineage_stands_alone() -> None:
    view = LineageView(language="en")
    view.show(Lineage(nodes=[], edges=[]))
    assert (view.nodes, view.edges, view.value) == ([], [], "")
