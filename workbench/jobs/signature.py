"""A notebook's signature: the typed parameters that it takes, and the result that it shows. It executes nothing."""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.errors import Invalid

PARAMETERS = "parameters"  # the tag of the cell that papermill overrides
RESULT = "result"  # the tag of the cell whose output is the result
JSON = "application/json"
NAMES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
WORDS = {"true": True, "false": False}
SHOWN = 40  # characters of a refused name that a message repeats

Value = str | int | float | bool | None


class NoSignature(Invalid):
    """The notebook takes no parameters."""

    code = "notebook.no_parameters"


class BadParameter(Invalid):
    """A parameter does not fit the notebook."""

    code = "notebook.parameter"


@dataclass(frozen=True)
class Parameter:
    """A name that the parameters cell assigns to."""

    name: str
    #: What it may be, in the order in which a text is tried; empty when it is not a plain value.
    types: tuple[type, ...]
    #: The default as it stands in the cell.
    default: str
    #: The comment behind it.
    help: str

    @property
    def type_name(self) -> str:
        """The type in words, such as `int | None`."""
        return " | ".join("None" if kind is type(None) else kind.__name__ for kind in self.types) or "not a plain value"

    def parse(self, text: str) -> Value:
        """Read a value that was typed; what the type lets be a string stays one."""
        for kind in sorted(self.types, key=_ORDER.index):
            value: Value = _READERS[kind](text)
            if value is not None or (kind is type(None) and text == "None"):
                return value
        raise BadParameter(f"The parameter {self.name} takes {self.type_name}, which the value given is not.")

    def check(self, value: Value) -> Value:
        """Return a value of the declared type; an int may stand for a float."""
        if type(value) is int and float in self.types and int not in self.types:
            return float(value)
        if type(value) not in self.types or (isinstance(value, float) and not math.isfinite(value)):
            raise BadParameter(f"The parameter {self.name} takes {self.type_name}, which the value given is not.")
        return value


def parameters(notebook: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a notebook in their order; raises `NoSignature`."""
    cell = next(_tagged(notebook, PARAMETERS), None)
    if cell is None:
        raise NoSignature("The notebook has no code cell with the tag `parameters`; tag the one that sets them.")
    source = "".join(cell["source"])
    try:
        statements, comments = ast.parse(source).body, _comments(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoSignature("The notebook's cell with the tag `parameters` is not plain Python.") from error
    return [found for one in statements if (found := _parameter(one, source, comments)) is not None]


def parsed(known: Sequence[Parameter], texts: Mapping[str, str]) -> dict[str, Value]:
    """Read typed texts by the declared types."""
    return {name: _find(known, name).parse(text) for name, text in texts.items()}


def checked(known: Sequence[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Check values against the declared types."""
    return {name: _find(known, name).check(value) for name, value in values.items()}


def result(notebook: Mapping[str, Any]) -> Any:
    """Return the JSON that the executed notebook's last `result` cell shows, None when there is none."""
    shown = None
    for cell in _tagged(notebook, RESULT):
        for output in cell.get("outputs", []):
            shown = output.get("data", {}).get(JSON, shown)
    return shown


def _tagged(notebook: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", []):
            yield cell


def _find(known: Sequence[Parameter], name: str) -> Parameter:
    found = next((one for one in known if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in known)
        raise BadParameter(f"The notebook has no parameter “{name[:SHOWN]}”; it has: {names}.")
    return found


def _parameter(statement: ast.stmt, source: str, comments: Mapping[int, str]) -> Parameter | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            types = _types(annotation)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            types = _default_types(value)
        case _:
            return None
    default = ast.get_source_segment(source, value) or ""
    return Parameter(name, types, default, comments.get(statement.end_lineno or 0, ""))


def _types(annotation: ast.expr) -> tuple[type, ...]:
    """Read `int`, `int | None` and `Optional[int]`."""
    match annotation:
        case ast.Name(id=name) if name in NAMES:
            return (NAMES[name],)
        case ast.Constant(value=None):
            return (type(None),)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = _types(left), _types(right)
            return sides[0] + sides[1] if all(sides) else ()
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            types = _types(inner)
            return (*types, type(None)) if types else ()
    return ()


def _default_types(value: ast.expr) -> tuple[type, ...]:
    """Without an annotation a parameter is what its default is; None may become any text."""
    try:
        kind = type(ast.literal_eval(value))
    except ValueError:
        return ()
    if kind is type(None):
        return (str, kind)
    return (kind,) if kind in NAMES.values() else ()


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,300}", text) else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _text(text: str) -> str | None:
    return text if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text) else None


_READERS: dict[type, Any] = {
    type(None): lambda text: None,
    bool: lambda text: WORDS.get(text.lower()),
    int: _whole,
    float: _number,
    str: _text,
}
_ORDER = list(_READERS)
