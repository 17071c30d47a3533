"""JSON Lines: one object on each line; every problem is reported with its line."""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from workbench.datasets.encoding import SourceFile, detect, label, text_lines
from workbench.datasets.reader import CHUNK_ROWS, MAX_COLUMNS, Chunk
from workbench.datasets.schemas import Column, ColumnMapping

EXACT_INTEGER = 2**53  # beyond it a float cannot hold every integer
ARROW_TYPES = {
    "string": pa.string(),
    "json": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
}
TYPES_OF_KINDS = {
    frozenset({"text"}): "string",
    frozenset({"integer"}): "int64",
    frozenset({"number"}): "double",
    frozenset({"integer", "number"}): "double",
    frozenset({"flag"}): "bool",
    frozenset[str](): "string",
}
KINDS = {str: "text", float: "number", bool: "flag", dict: "nested", list: "nested"}

Record = tuple[int, dict[str, Any]]


class JSONLines:
    """A JSON Lines file. Columns are the keys in the order of their first appearance."""

    unit: Literal["line", "row"] = "line"

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._codec = detect(file)
        self._types = self._survey()

    def describe(self) -> str:
        """Return the format and encoding."""
        return f"JSON Lines ({label(self._codec)})"

    def columns(self) -> list[Column]:
        """Return every key that some object has."""
        return [Column(name=name, type=type_) for name, type_ in self._types.items()]

    def text_columns(self) -> list[str]:
        """Return the keys whose values are strings or null."""
        return [name for name, type_ in self._types.items() if type_ == "string"]

    def chunks(self, mapping: ColumnMapping) -> Iterator[Chunk]:
        """Yield the rows; a missing key is null, a mapped number is written as JSON writes it."""
        mapped = (mapping.prompt, mapping.completion)
        records = self._records()
        while block := list(islice(records, CHUNK_ROWS)):
            arrays = {
                name: self._text(block, name) if name in mapped else _array(block, name, type_)
                for name, type_ in self._types.items()
            }
            yield Chunk(pa.table(arrays), [line for line, _ in block])

    def _survey(self) -> dict[str, str]:
        kinds: dict[str, set[str]] = defaultdict(set)
        for line, record in self._records():
            for name, value in record.items():
                kinds[name] |= _kind(value)
            if any("\0" in name for name in record):
                raise self.file.refuse(f"line {line} holds a NUL character in a key; remove it")
            if len(kinds) > MAX_COLUMNS:
                raise self.file.refuse(f"has more than {MAX_COLUMNS} different keys up to line {line}")
        return {name: TYPES_OF_KINDS.get(frozenset(found), "json") for name, found in kinds.items()}

    def _records(self) -> Iterator[Record]:
        for number, line in enumerate(text_lines(self.file, self._codec), 1):
            if line.strip():
                yield number, self._parse(line, number)

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
            if "\\u" in line:
                _refuse_half_surrogates(record)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise self.file.refuse(f"line {number} is not valid JSON: {reason[:1].lower()}{reason[1:]}") from error
        if not isinstance(record, dict):
            raise self.file.refuse(f'line {number} is not a JSON object such as {{"prompt": "…", "completion": "…"}}')
        return record

    def _text(self, block: list[Record], name: str) -> pa.Array:
        nested = next((line for line, record in block if isinstance(record.get(name), dict | list)), None)
        if nested is not None:
            raise self.file.refuse(f'line {nested} has no text in "{name}" but a nested value; choose another column')
        values = (record.get(name) for _, record in block)
        return pa.array([_dump(v) if isinstance(v, bool | int | float) else v for v in values], pa.string())


def _array(block: list[Record], name: str, type_: str) -> pa.Array:
    values = [record.get(name) for _, record in block]
    if type_ == "json":
        values = [None if value is None else _dump(value) for value in values]
    return pa.array(values, ARROW_TYPES[type_])


def _kind(value: Any) -> set[str]:
    if value is None:
        return set()
    if type(value) is int:
        return {"integer"} if abs(value) <= EXACT_INTEGER else {"nested"}
    return {KINDS[type(value)]}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _refuse_half_surrogates(record: Any) -> None:
    try:
        _dump(record).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair") from None
