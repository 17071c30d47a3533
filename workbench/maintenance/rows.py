"""Rows as canonical lines, equal on both databases: what backups hold, and what checksums are taken of.

A line is a JSON array of a row's values in the order of the column names: times as ISO 8601 in UTC with microseconds,
bytes as base64, JSON documents as text with sorted keys, everything else as it is. Lines come in the order of the
primary key, texts by their bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, Table

from workbench.core.errors import Conflict
from workbench.core.schemas import texts_of
from workbench.migrations.tables import METADATA

Kind = Literal["text", "integer", "boolean", "float", "time", "json", "bytes"]
Value = str | int | float | bool | None
Row = list[Value]

BATCH = 2_000  # rows that are fetched at once
#: From here on Python writes a float with an exponent, which PostgreSQL's jsonb spells out as a whole number.
WHOLE = 1e16
KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], Kind], ...] = (
    (sa.JSON, "json"),
    (sa.Boolean, "boolean"),
    (sa.DateTime, "time"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.LargeBinary, "bytes"),
    (sa.String, "text"),
)


class BadValue(Conflict):
    """A row cannot be carried over."""

    code = "database.bad_value"


@dataclass(frozen=True)
class Column:
    """A column, by what it means on both databases."""

    name: str
    kind: Kind
    #: Longest text in characters, or bits of an integer; None without a limit.
    limit: int | None = None

    def canonical(self, value: Any) -> Value:
        """Return what a line holds for a value as either driver gives it; raises ValueError saying what is wrong."""
        if value is None:
            return None
        return _CANONICAL[self.kind](value)

    def problem(self, value: Value) -> str | None:
        """Say why PostgreSQL would refuse a canonical value, None when it takes it."""
        if not isinstance(value, str):
            edge = 2 ** ((self.limit or 0) - 1)
            fits = self.kind != "integer" or value is None or -edge <= value < edge
            return None if fits else f"does not fit {self.limit} bits"
        if "\0" in value or (self.kind == "json" and "\\u0000" in value and "\0" in _texts(value)):
            return "holds a NUL character"
        if not is_unicode(value):
            return "holds half a character (a lone surrogate)"
        if self.kind == "json" and ("NaN" in value or "Infinity" in value) and not _is_finite(value):
            return "holds a number that is none (NaN or Infinity)"
        if self.limit is not None and len(value) > self.limit:
            return f"has {len(value)} characters and may have {self.limit}"
        return None


@dataclass(frozen=True)
class Shape:
    """A table as its rows are carried: columns in the order of their names, and the primary key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    #: The column that counts up by itself, if there is one.
    sequence: str | None = None

    @classmethod
    def of(cls, table: Table) -> Shape:
        """Return the shape of a declared or reflected table."""
        columns = sorted(table.columns, key=lambda column: column.name)
        key = tuple(column.name for column in table.primary_key.columns)
        counting = table.autoincrement_column
        sequence = counting.name if counting is not None else None
        return cls(table.name, tuple(_column(column) for column in columns), key, sequence)

    @cached_property
    def key_positions(self) -> list[int]:
        """Where the key's columns lie in a row."""
        names = [column.name for column in self.columns]
        return [names.index(name) for name in self.key]

    def key_of(self, row: Row) -> list[Value]:
        """Return a row's key."""
        return [row[position] for position in self.key_positions]


@dataclass
class Digest:
    """Counts rows and hashes their lines."""

    rows: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Take the next line."""
        self.rows += 1
        self._sha256.update(line)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of all lines so far."""
        return str(self._sha256.hexdigest())


def shapes(connection: Connection) -> list[Shape]:
    """Return our tables as the database has them, each after those that it refers to; others' are passed over."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name in METADATA.tables, resolve_fks=False)
    return [Shape.of(table) for table in metadata.sorted_tables]


def line_of(row: Row) -> bytes:
    """Return a row's line, with its newline."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf8", "surrogatepass") + b"\n"


def read(connection: Connection, shape: Shape, after: Sequence[Value] | None = None) -> Iterator[Row]:
    """Yield a table's rows in the order of its key, from behind the key `after`; raises `BadValue`."""
    for raw in _fetched(connection, shape, after):
        row: Row = []
        for column, value in zip(shape.columns, raw, strict=True):
            try:
                row.append(column.canonical(value))
            except ValueError as error:
                key = [value for column, value in zip(shape.columns, raw, strict=True) if column.name in shape.key]
                raise BadValue(
                    f"The column {column.name} of the row {key} in {shape.name} {error}; mend that row first."
                ) from error
        yield row


def digest(connection: Connection, shape: Shape, each: Callable[[Row, bytes], None] = lambda row, line: None) -> Digest:
    """Read a whole table and return its digest; `each` is shown every row and its line."""
    made = Digest()
    for row in read(connection, shape):
        line = line_of(row)
        made.add(line)
        each(row, line)
    return made


def sequences(connection: Connection, known: Sequence[Shape]) -> dict[str, int]:
    """Return the highest number that each table which counts by itself has ever given out."""
    found = {}
    for shape in known:
        if shape.sequence is not None:
            largest: sa.Select[Any] = sa.select(sa.func.max(sa.column(shape.sequence))).select_from(
                sa.table(shape.name)
            )
            newest = connection.scalar(largest)
            found[shape.name] = max(int(newest or 0), _given_out(connection, shape))
    return found


def _given_out(connection: Connection, shape: Shape) -> int:
    if connection.dialect.name == "sqlite":
        if connection.scalar(sa.text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'")) == 0:
            return 0
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return int(connection.scalar(query, {"name": shape.name}) or 0)
    query = sa.text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:table, :column)::regclass)")
    return int(connection.scalar(query, {"table": shape.name, "column": shape.sequence}) or 0)


def _column(column: sa.Column[Any]) -> Column:
    kind = next((kind for base, kind in KINDS if _is(column.type, base)), None)
    if kind is None:
        raise BadValue(f"The column {column.name} of {column.table.name} has a type that is not known: {column.type}.")
    limits = {"text": getattr(column.type, "length", None), "integer": 64 if _is(column.type, sa.BigInteger) else 32}
    return Column(column.name, kind, limits.get(kind))


def _is(declared: sa.types.TypeEngine[Any], base: type[sa.types.TypeEngine[Any]]) -> bool:
    if isinstance(declared, sa.types.TypeDecorator):
        declared = declared.impl_instance
    return isinstance(declared, base)


def _fetched(connection: Connection, shape: Shape, after: Sequence[Value] | None) -> Iterator[Sequence[Any]]:
    postgresql = connection.dialect.name == "postgresql"
    quote = connection.dialect.identifier_preparer.quote
    names = [
        f"{quote(column.name)}::text" if postgresql and column.kind == "json" else quote(column.name)
        for column in shape.columns
    ]
    kinds = {column.name: column.kind for column in shape.columns}
    order = [
        f'{quote(name)} COLLATE "C"' if postgresql and kinds[name] == "text" else quote(name) for name in shape.key
    ]
    mark = "%s" if postgresql else "?"
    behind = f"WHERE ({', '.join(order)}) > ({', '.join([mark] * len(order))})" if after is not None else ""
    query = f"SELECT {', '.join(names)} FROM {quote(shape.name)} {behind} ORDER BY {', '.join(order)}"  # noqa: S608
    result = connection.exec_driver_sql(query, tuple(after or ()), execution_options={"yield_per": BATCH})
    for part in result.partitions():
        yield from part


def is_unicode(value: str) -> bool:
    """Tell whether a text can be written as UTF-8, which one with half a character cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole_texts(connection: sqlite3.Connection) -> None:
    """Let a SQLite connection read texts that are not UTF-8 too, so that they can be named."""
    connection.text_factory = lambda content: content.decode("utf8", "surrogateescape")


def _is_finite(document: str) -> bool:
    found: list[str] = []
    json.loads(document, parse_constant=found.append)
    return not found


def _texts(document: str) -> str:
    return "".join(texts_of(json.loads(document)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")
    if not is_unicode(value):
        raise ValueError("holds bytes that are not UTF-8")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("is not a whole number")
    return int(value)


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError("is neither true nor false")
    return bool(value)


def _float(value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError("is not a number")
    return float(value)


def _time(value: Any) -> str:
    """SQLite gives text in UTC, PostgreSQL a time with its zone."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
        aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (AttributeError, ValueError) as error:
        raise ValueError("is not a time") from error
    return str(aware.isoformat(sep=" ", timespec="microseconds"))


def _json(value: Any) -> str:
    """SQLite keeps a document that is nothing but a number as that number."""
    try:
        document = _plain(value if isinstance(value, int | float) else json.loads(value))
        return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("is not a JSON document") from error


def _plain(value: Any) -> Any:
    """Return a document with its numbers as PostgreSQL's jsonb gives them back."""
    if isinstance(value, float):
        whole = int(Decimal(repr(value))) if abs(value) >= WHOLE and value - value == 0 else None
        return whole if whole is not None else value + 0.0  # there is no negative zero
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _bytes(value: Any) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValueError("is not made of bytes")
    return base64.b64encode(value).decode()


_CANONICAL: dict[Kind, Callable[[Any], Value]] = {
    "text": _text,
    "integer": _integer,
    "boolean": _boolean,
    "float": _float,
    "time": _time,
    "json": _json,
    "bytes": _bytes,
}
