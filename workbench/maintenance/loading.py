"""Puts canonical rows into an empty database that has its tables, as fast as each engine takes them."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from workbench.core.errors import Conflict
from workbench.maintenance.rows import BATCH, Kind, Row, Shape, Value, is_unicode

ZONE = "+00:00"  # canonical times are in UTC

#: The references between tables by their definition: (table, name, definition).
ForeignKeys = list[tuple[str, str, str]]


class BrokenReferences(Conflict):
    """Rows refer to rows that are not there."""

    code = "database.broken_references"


def insert(connection: Connection, shape: Shape, rows: Iterable[Row]) -> int:
    """Insert rows in the connection's transaction, and return how many they were."""
    if connection.dialect.name == "postgresql":
        return _copy(connection, shape, rows)
    names = ", ".join(_quoted(connection, column.name) for column in shape.columns)
    marks = ", ".join("?" * len(shape.columns))
    statement = f"INSERT INTO {_quoted(connection, shape.name)} ({names}) VALUES ({marks})"  # noqa: S608
    inserted = 0
    for part in batches(_driver_rows(shape, rows, _SQLITE), BATCH):
        connection.exec_driver_sql(statement, [tuple(row) for row in part])
        inserted += len(part)
    return inserted


def _copy(connection: Connection, shape: Shape, rows: Iterable[Row]) -> int:
    driver = connection.connection.driver_connection
    assert driver is not None
    names = ", ".join(_quoted(connection, column.name) for column in shape.columns)
    inserted = 0
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {_quoted(connection, shape.name)} ({names}) FROM STDIN") as copy,
    ):
        for row in _driver_rows(shape, rows, _POSTGRESQL):
            copy.write_row(row)
            inserted += 1
    return inserted


def take_references(connection: Connection) -> ForeignKeys:
    """Let rows come in any order: drop PostgreSQL's foreign keys and return them, or defer SQLite's."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        return []
    query = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2"
    )
    taken = [(str(table), str(name), str(definition)) for table, name, definition in connection.execute(sa.text(query))]
    for table, name, _ in taken:
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {_quoted(connection, name)}")
    return taken


def give_references(connection: Connection, taken: ForeignKeys) -> None:
    """Hold the rows to their foreign keys again; raises `BrokenReferences` when one leads nowhere."""
    if connection.dialect.name == "sqlite":
        check_references(connection)
    for table, name, definition in taken:
        try:
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {_quoted(connection, name)} {definition}")
        except IntegrityError as error:
            raise BrokenReferences(f"Rows of {table} refer to rows that are not there ({name}).") from error


def check_references(connection: Connection) -> None:
    """Raise `BrokenReferences` when a row of a SQLite file refers to one that is not there."""
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        raise BrokenReferences(f"Row {row} of {table} refers to a row of {parent} that is not there.")


def set_sequences(connection: Connection, known: Iterable[Shape], given_out: Mapping[str, int]) -> None:
    """Let every table that counts by itself go on from where it was."""
    for shape in known:
        last = given_out.get(shape.name, 0)
        if last == 0 or not counts_on(connection, shape):
            continue
        if connection.dialect.name == "postgresql":
            query = sa.text("SELECT setval(pg_get_serial_sequence(:table, :column)::regclass, :last)")
            connection.execute(query, {"table": shape.name, "column": shape.sequence, "last": last})
        else:
            table = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
            done = connection.execute(table.update().where(table.c.name == shape.name).values(seq=last))
            if done.rowcount == 0:
                connection.execute(table.insert().values(name=shape.name, seq=last))


def counts_on(connection: Connection, shape: Shape) -> bool:
    """Tell whether a table numbers its rows by itself and never gives a number out twice."""
    if shape.sequence is None or connection.dialect.name == "postgresql":
        return shape.sequence is not None
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    return "AUTOINCREMENT" in str(connection.scalar(query, {"name": shape.name})).upper()


def batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut a stream into lists of a size."""
    stream = iter(rows)
    while part := list(itertools.islice(stream, size)):
        yield part


def _quoted(connection: Connection, name: str) -> str:
    return str(connection.dialect.identifier_preparer.quote(name))


def _driver_rows(
    shape: Shape, rows: Iterable[Row], converters: Mapping[Kind, Callable[[Any], Any]]
) -> Iterator[list[Any]]:
    kinds = [(index, column.kind) for index, column in enumerate(shape.columns)]
    changed = [(index, converters[kind]) for index, kind in kinds if kind in converters]
    for row in rows:
        values: list[Value | bytes] = list(row)
        for index, convert in changed:
            if values[index] is not None:
                values[index] = convert(values[index])
        yield values


_SQLITE: Mapping[Kind, Callable[[Any], Any]] = {
    "time": lambda text: text.removesuffix(ZONE),
    "boolean": int,
    "bytes": base64.b64decode,
    "json": lambda text: text if is_unicode(text) else json.dumps(json.loads(text)),
}
_POSTGRESQL: Mapping[Kind, Callable[[Any], Any]] = {"bytes": base64.b64decode}
