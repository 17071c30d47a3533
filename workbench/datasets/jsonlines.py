"""JSON Lines, one object on each line, and JSON arrays of objects; every problem is reported with its place."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from workbench.datasets.encoding import SourceFile, detect, label, text_lines
from workbench.datasets.errors import FileRefused
from workbench.datasets.reader import CHUNK_ROWS, MAX_COLUMNS, Chunk
from workbench.datasets.schemas import Column

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

    def chunks(self, texts: Collection[str] = ()) -> Iterator[Chunk]:
        """Yield the rows; a missing key is null, a number that shall be text is written as JSON writes it."""
        records = self._records()
        while block := list(islice(records, CHUNK_ROWS)):
            arrays = {
                name: self._text(block, name) if name in texts else _array(block, name, type_)
                for name, type_ in self._types.items()
            }
            yield Chunk(pa.table(arrays), [line for line, _ in block])

    def _survey(self) -> dict[str, str]:
        kinds: dict[str, set[str]] = defaultdict(set)
        for line, record in self._records():
            for name, value in record.items():
                kinds[name] |= _kind(value)
            if any("\0" in name for name in record):
                raise self.file.refuse(f"{self.unit} {line} holds a NUL character in a key; remove it")
            if len(kinds) > MAX_COLUMNS:
                raise self.file.refuse(f"has more than {MAX_COLUMNS} different keys up to {self.unit} {line}")
        return {name: TYPES_OF_KINDS.get(frozenset(found), "json") for name, found in kinds.items()}

    def _records(self) -> Iterator[Record]:
        for number, line in enumerate(text_lines(self.file, self._codec), 1):
            if line.strip():
                yield number, self._object(self._parse(line.strip(), number), number)

    def _object(self, record: Any, number: int) -> dict[str, Any]:
        if not isinstance(record, dict):
            example = '{"prompt": "…", "completion": "…"}'
            raise self.file.refuse(f"{self.unit} {number} is not a JSON object such as {example}")
        return record

    def _parse(self, text: str, number: int = 1) -> Any:
        """Parse JSON that begins on a line of the file."""
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
            if "\\u" in text:
                _refuse_half_surrogates(value)
        except json.JSONDecodeError as error:
            raise self._invalid(number + error.lineno - 1, error.msg) from error
        except (ValueError, RecursionError) as error:
            raise self._invalid(number, str(error)) from error
        return value

    def _invalid(self, line: int, reason: str) -> FileRefused:
        return self.file.refuse(f"line {line} is not valid JSON: {reason[:1].lower()}{reason[1:]}")

    def _text(self, block: list[Record], name: str) -> pa.Array:
        nested = next((line for line, record in block if isinstance(record.get(name), dict | list)), None)
        if nested is not None:
            place = f"{self.unit} {nested}"
            raise self.file.refuse(f'{place} has no text in "{name}" but a nested value; choose another column')
        values = (record.get(name) for _, record in block)
        return pa.array([_dump(v) if isinstance(v, bool | int | float) else v for v in values], pa.string())


class JSONDocument(JSONLines):
    """A JSON file: an array of objects, or an object with exactly one such array among its members."""

    unit: Literal["line", "row"] = "row"

    def describe(self) -> str:
        """Return the format and encoding."""
        return f"JSON ({label(self._codec)})"

    def _records(self) -> Iterator[Record]:
        for number, record in enumerate(self._rows, 1):
            yield number, self._object(record, number)

    @cached_property
    def _rows(self) -> list[Any]:
        document = self._parse("".join(text_lines(self.file, self._codec)))
        if isinstance(document, list):
            return document
        arrays = [value for value in document.values() if _is_table(value)] if isinstance(document, dict) else []
        if len(arrays) != 1:
            raise self.file.refuse("is neither an array of objects nor an object that holds one such array")
        return list(arrays[0])


def json_reader(file: SourceFile) -> JSONLines:
    """Return the reader of a `.json` file, which in practice often holds JSON Lines."""
    lines = (line for line in text_lines(file, detect(file)) if line.strip())
    first, second = next(lines, ""), next(lines, "")
    return JSONLines(file) if _is_object(first) and _is_object(second) else JSONDocument(file)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


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
