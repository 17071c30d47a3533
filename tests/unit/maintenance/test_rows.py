from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.tables import IdempotencyKey
from workbench.maintenance import loading
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import snapshot
from workbench.maintenance.rows import BadValue, Column, Shape, digest, line_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé\U0001f600"), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
SHAPE = Shape.of(IdempotencyKey.__table__)  # type: ignore[arg-type]


def stored(database: Database, answer: Any) -> list[canonical.Row]:
    with database.write() as session:
        session.query(IdempotencyKey).delete()
        session.add(IdempotencyKey(user_id="ada", key="k", request_sha256="", answer=answer, at=utcnow()))
    with snapshot(database) as connection:
        return list(canonical.read(connection, SHAPE))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(answer=st.lists(JSON, max_size=3) | st.dictionaries(st.text("ab"), JSON, max_size=3))
def test_a_document_has_one_canonical_form_on_both_stores(database: Database, answer: Any) -> None:
    (row,) = stored(database, answer)
    text = row[0]
    assert isinstance(text, str)
    assert text == json.dumps(canonical._plain(answer), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert json.loads(text, parse_int=float) == json.loads(json.dumps(answer), parse_int=float)


def test_rows_that_are_loaded_are_the_rows_that_were_read(database: Database) -> None:
    rows: list[canonical.Row] = [
        ['{"a":1}', "2026-11-24 22:15:10.000001+00:00", f"{number}é\U0001f600\n\\N\t", "x" * 64, "ada"]
        for number in range(50)
    ]
    with database.engine.begin() as connection:
        assert loading.insert(connection, SHAPE, rows) == 50
    with snapshot(database) as connection:
        assert sorted(map(line_of, canonical.read(connection, SHAPE))) == sorted(map(line_of, rows))


def test_rows_come_in_the_order_of_their_bytes_and_from_behind_a_key(database: Database) -> None:
    keys = ["a", "B", "é", "z", "\U0001f600", "中", "_", "aa"]
    rows: list[canonical.Row] = [["{}", "2026-11-24 22:15:10.000000+00:00", key, "", "u"] for key in keys]
    with database.engine.begin() as connection:
        loading.insert(connection, SHAPE, rows)
    ordered = sorted(keys, key=lambda key: key.encode())
    with snapshot(database) as connection:
        assert [row[2] for row in canonical.read(connection, SHAPE)] == ordered
        assert [row[2] for row in canonical.read(connection, SHAPE, ["u", ordered[3]])] == ordered[4:]


def test_every_type_that_a_table_may_have_is_carried(empty_database_url: str) -> None:
    """Bytes too, which no table of ours has yet."""
    table = sa.Table(
        "things", sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True), sa.Column("content", sa.LargeBinary),
        sa.Column("yes", sa.Boolean), sa.Column("share", sa.Float(53)),
    )  # fmt: skip
    database, shape = Database(empty_database_url), Shape.of(table)
    blob = bytes(range(256)) * 1000
    with database.engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert().values(id=1, content=blob, yes=True, share=5e-324))
        connection.execute(table.insert().values(id=2, content=None, yes=None, share=float("inf")))
    with snapshot(database) as connection:
        found = sa.MetaData()
        found.reflect(connection)
        reflected = Shape.of(found.tables["things"])
        rows = list(canonical.read(connection, reflected))
    assert [column.kind for column in reflected.columns] == [column.kind for column in shape.columns]
    with database.engine.begin() as connection:
        connection.execute(table.delete())
        loading.insert(connection, reflected, rows)
        assert [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))] == [
            (1, blob, True, 5e-324), (2, None, None, float("inf")),
        ]  # fmt: skip
    database.close()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (Column("a", "text"), "x\0y", "NUL"),
        (Column("a", "json"), json.dumps("x\0y"), "NUL"),
        (Column("a", "json"), json.dumps("x\\u0000y"), None),
        (Column("a", "json"), '"\ud800"', "surrogate"),
        (Column("a", "json"), '{"loss":NaN}', "NaN"),
        (Column("a", "json"), '"NaN"', None),
        (Column("a", "text", 3), "abcd", "4 characters and may have 3"),
        (Column("a", "text", 3), "数据库", None),
        (Column("a", "integer", 32), 2**31, "32 bits"),
        (Column("a", "integer", 32), -(2**31), None),
        (Column("a", "integer", 64), 2**63 - 1, None),
        (Column("a", "boolean"), True, None),
        (Column("a", "text"), None, None),
    ],
)
def test_what_postgresql_would_refuse_is_known_before(column: Column, value: Any, words: str | None) -> None:
    problem = column.problem(value)
    assert (problem is None) if words is None else (problem is not None and words in problem)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE idempotency_keys SET at = 'yesterday'", "at of the row .* is not a time"),
        ("UPDATE idempotency_keys SET answer = 'no json'", "answer .* is not a JSON document"),
        ("UPDATE idempotency_keys SET request_sha256 = CAST(x'ff' AS TEXT)", "request_sha256 .* not UTF-8"),
        ("UPDATE idempotency_keys SET request_sha256 = x'00'", "request_sha256 .* is not a text"),
    ],
)
def test_what_sqlite_lets_pass_is_named_by_its_row(sqlite_database: Database, statement: str, words: str) -> None:
    stored(sqlite_database, {})
    with sqlite_database.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with snapshot(sqlite_database) as connection, pytest.raises(BadValue, match=words):
        digest(connection, SHAPE)


def test_numbers_that_were_given_out_are_not_given_out_again(database: Database) -> None:
    def newest(connection: Connection) -> dict[str, int]:
        return canonical.sequences(connection, canonical.shapes(connection))

    with database.engine.begin() as connection:
        shape = next(shape for shape in canonical.shapes(connection) if shape.name == "events")
        loading.set_sequences(connection, [shape], {"events": 70})
        assert newest(connection)["events"] == 70
        at = datetime.now().isoformat(sep=" ", timespec="microseconds")
        table = sa.table("events", *(sa.column(name) for name in ("at", "topic", "type", "data")))
        document = sa.cast("{}", sa.JSON) if database.dialect == "postgresql" else "{}"
        moment = sa.cast(at, sa.DateTime) if database.dialect == "postgresql" else at
        connection.execute(table.insert().values(at=moment, topic="t", type="x", data=document))
        assert connection.scalar(sa.text("SELECT seq FROM events")) == 71
        connection.execute(table.delete())
        assert newest(connection)["events"] == 71
