"""Rows for every table that are hard to carry over: every Unicode plane, extreme numbers, nulls, long texts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from workbench.accounts import audit
from workbench.accounts.tables import AuditEntry
from workbench.core.database import Database
from workbench.maintenance import loading
from workbench.maintenance.rows import Column, Row, Shape, Value
from workbench.migrations.tables import METADATA

#: A few characters of every plane that has any, and what trips up text handling.
PLANES = ["a", "é", "\u0301", "中", "\ufeff", "\u202e", "\ud7ff", "\ue000", "\uffff", "\U0001f600", "\U0002000b"]
PLANES += [chr(plane << 16 | offset) for plane in range(17) for offset in (0x41, 0xFFFD)]
PLANES += ["\t", "\n", "\r", "\\", "\\N", "\\.", "'", '"', "\x01", "\x7f", "\u2028", ",", ";", "%s", "{", "NULL"]
FLOATS = [0.0, -0.0, 1.5, 5e-324, 1.7976931348623157e308, float("inf"), -1e16, 0.1, 1 / 3, 1e15, 123456789.123456789]
DOCUMENTS: list[Any] = [
    {}, [], {"": None}, {"a": [None, {"b": None}]}, [1, 1.0, -0.0, 1e16, 1.2345e300, 1e-300, 2**63, -(2**70), True],
    {"z": 1, "a": 2, "é": "\U0001f600\u2028", "quote": "\"'\\\\"}, "a text", 0, False, [[[[[[[[[[None]]]]]]]]]],
    {"long": "数据" * 2000},
]  # fmt: skip
LONG = 300_000  # characters of the longest texts
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fill(database: Database, per_table: int, seed: int = 0) -> int:
    """Fill every table of an empty database, of whatever revision, and return how many rows there are."""
    chance = random.Random(seed)
    keys: dict[str, list[Value]] = {}
    total = 0
    metadata = sa.MetaData()
    with database.engine.begin() as connection:
        metadata.reflect(connection)
        taken = loading.take_references(connection)
        for table in metadata.sorted_tables:
            if table.name not in METADATA.tables:
                continue
            shape = Shape.of(table)
            rows = (
                _audit(shape, per_table, chance) if table.name == "audit_log" else _rows(table, per_table, chance, keys)
            )
            total += loading.insert(connection, shape, rows)
            first = next(column for column in shape.columns if column.name == shape.key[0])
            if first.kind == "text":
                keys[table.name] = [_key(first, number) for number in range(per_table)]
        loading.give_references(connection, taken)
    return total


def _rows(table: sa.Table, count: int, chance: random.Random, keys: dict[str, list[Value]]) -> Iterator[Row]:
    columns = [(column, table.columns[column.name]) for column in Shape.of(table).columns]
    for number in range(count):
        yield [_cell(table, column, declared, number, count, chance, keys) for column, declared in columns]


def _cell(
    table: sa.Table,
    column: Column,
    declared: sa.Column[Any],
    number: int,
    count: int,
    chance: random.Random,
    keys: dict[str, list[Value]],
) -> Value:
    foreign = next(iter(declared.foreign_keys), None)
    if declared.nullable and chance.random() < 0.3:
        return None
    if foreign is not None and foreign.column.table is table:  # also to rows that come later
        return _key(column, chance.randrange(count))
    if foreign is not None:
        second = declared.primary_key and declared is not next(iter(table.primary_key.columns))
        return keys[foreign.column.table.name][(number // count + number if second else number) % count]
    if _is_unique(table, declared):
        return number + 1 if column.kind == "integer" else _key(column, number)
    return _value(column, number, chance)


def _is_unique(table: sa.Table, column: sa.Column[Any]) -> bool:
    constraints = [one for one in table.constraints if isinstance(one, sa.UniqueConstraint | sa.PrimaryKeyConstraint)]
    return bool(column.unique) or any(column.name in one.columns for one in constraints)


def _key(column: Column, number: int) -> str:
    return f"{number:07d}{PLANES[number % len(PLANES)]}"[: column.limit]


def _value(column: Column, number: int, chance: random.Random) -> Value:
    if column.kind == "text":
        return _text(column.limit, chance)
    if column.kind == "integer":
        edge = 2 ** ((column.limit or 64) - 1)
        return chance.choice([0, 1, -1, edge - 1, -edge, number])
    if column.kind == "boolean":
        return chance.random() < 0.5
    if column.kind == "float":
        return chance.choice(FLOATS)
    if column.kind == "time":
        moment = EPOCH + timedelta(days=chance.randrange(60_000), microseconds=chance.choice([0, 1, 999_999, number]))
        return moment.isoformat(sep=" ", timespec="microseconds")
    return json.dumps(chance.choice(DOCUMENTS), ensure_ascii=chance.random() < 0.5)


def _text(limit: int | None, chance: random.Random) -> str:
    if limit is None and chance.random() < 0.0005:
        return "".join(chance.choices(PLANES, k=LONG))
    return "".join(chance.choices(PLANES, k=chance.randrange(40)))[: limit or 120]


def _audit(shape: Shape, count: int, chance: random.Random) -> Iterator[Row]:
    """A log whose chain of hashes holds."""
    previous = audit.FIRST
    for number in range(1, count + 1):
        details = {"text": "".join(chance.choices(PLANES, k=8)), "none": None, "n": number}
        at = EPOCH + timedelta(days=20_000, microseconds=number)
        entry = AuditEntry(seq=number, at=at, actor_id="local", actor_name="中", holder="", address="", action="a.b")
        entry.object, entry.details, entry.previous = "x", details, previous
        entry.hash = previous = audit._digest(entry)
        given = {column.name: getattr(entry, column.name) for column in shape.columns}
        given |= {"at": at.isoformat(sep=" ", timespec="microseconds"), "details": json.dumps(details)}
        yield [given[column.name] for column in shape.columns]
