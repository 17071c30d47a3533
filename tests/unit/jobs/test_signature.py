from __future__ import annotations

import math
from typing import Any

import pytest

from workbench.jobs import signature
from workbench.jobs.signature import BadParameter, NoSignature

CELL = """from typing import Optional

base: str = "Qwen/Qwen3-0.6B"  # the model = a name
steps: Optional[int] = None  # optimizer steps
rate: float | None = 1e-4
quick: bool = False
either: int | str = 3
plain = 7
nothing = None
layers: list = []
base.attribute = 1
"""


def notebook(source: str = CELL, tags: tuple[str, ...] = ("parameters",), **more: Any) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "metadata": {"tags": [*tags]}, "source": source, **more}]}


def parsed(name: str, text: str) -> object:
    return signature.parsed(signature.parameters(notebook()), {name: text})[name]


def checked(name: str, value: Any) -> object:
    return signature.checked(signature.parameters(notebook()), {name: value})[name]


def test_a_cell_tells_names_types_defaults_and_help() -> None:
    found = {one.name: (one.type_name, one.default, one.help) for one in signature.parameters(notebook())}
    assert found == {
        "base": ("str", '"Qwen/Qwen3-0.6B"', "the model = a name"),
        "steps": ("int | None", "None", "optimizer steps"),
        "rate": ("float | None", "1e-4", ""),
        "quick": ("bool", "False", ""),
        "either": ("int | str", "3", ""),
        "plain": ("int", "7", ""),
        "nothing": ("str | None", "None", ""),
        "layers": ("not a plain value", "[]", ""),
    }


def test_a_source_may_be_a_list_of_lines() -> None:
    lines = notebook(CELL) | {"cells": [notebook()["cells"][0] | {"source": CELL.splitlines(True)}]}
    assert signature.parameters(lines) == signature.parameters(notebook())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("base", "5", "5"),
        ("base", "None", "None"),
        ("base", "__import__('os').system('x')", "__import__('os').system('x')"),
        ("base", "", ""),
        ("steps", "200", 200),
        ("steps", "None", None),
        ("rate", "2", 2.0),
        ("rate", "-1e-3", -0.001),
        ("quick", "true", True),
        ("quick", "False", False),
        ("either", "12", 12),
        ("either", "1.5", "1.5"),
        ("nothing", "text", "text"),
        ("nothing", "None", None),
    ],
)
def test_a_text_is_read_by_the_declared_type(name: str, text: str, value: object) -> None:
    found = parsed(name, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "1.5"),
        ("steps", "1_000"),
        ("steps", "9" * 5000),
        ("rate", "nan"),
        ("rate", "fast"),
        ("quick", "1"),
        ("layers", "[1]"),
        ("base", "\udce4"),
    ],
)
def test_a_text_of_another_type_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadParameter, match=rf"^The parameter {name} takes .*, which the value given is not\.$"):
        parsed(name, text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", True), ("steps", 1.0), ("base", None), ("base", 5), ("rate", math.inf), ("rate", "1"), ("layers", 1)],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadParameter):
        checked(name, value)


def test_an_int_may_stand_for_a_float() -> None:
    assert (checked("rate", 2), type(checked("rate", 2))) == (2.0, float)
    assert (checked("either", 2), type(checked("either", 2))) == (2, int)


def test_an_unknown_name_is_refused_with_the_known_ones_and_not_at_length() -> None:
    with pytest.raises(BadParameter, match=r"has no parameter “bas”; it has: base, steps, rate, quick"):
        parsed("bas", "x")
    with pytest.raises(BadParameter) as refused:
        checked("x" * 10_000, 1)
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(
    "without", [notebook(tags=()), {"cells": []}, notebook("x = ("), notebook("x = 1\0"), notebook("(" * 9999)]
)
def test_a_notebook_without_a_signature_is_refused(without: dict[str, Any]) -> None:
    with pytest.raises(NoSignature):
        signature.parameters(without)


def test_the_result_is_what_the_tagged_cell_shows() -> None:
    output = {"output_type": "display_data", "data": {"application/json": {"score": 1}, "text/plain": "…"}}
    stream = {"output_type": "stream", "text": "log"}
    assert signature.result(notebook(tags=("result",), outputs=[stream, output])) == {"score": 1}
    assert signature.result(notebook(tags=(), outputs=[output])) is None
    assert signature.result(notebook(tags=("result",))) is None
