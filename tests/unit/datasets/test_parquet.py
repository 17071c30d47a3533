from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.datasets.errors import FileRefused, MappingRefused
from workbench.datasets.parquet import Parquet

from .conftest import Write

QA = ("q", "a")


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read(reader: Parquet) -> list[dict[str, Any]]:
    return [row for chunk in reader.chunks(QA) for row in chunk.table.to_pylist()]


def test_all_kinds_of_text_come_as_strings(write: Write) -> None:
    table = pa.table(
        {
            "q": pa.array(["x", "y", "x"]).dictionary_encode(),
            "a": pa.array(["1", "2", "3"], pa.large_string()),
            "kept": pa.array([[1], [], None], pa.list_(pa.int64())),
        }
    )
    reader = Parquet(write("x.parquet", parquet(table)))
    assert [(column.name, column.type) for column in reader.columns()][:2] == [("q", "string"), ("a", "string")]
    assert reader.text_columns() == ["q", "a"]
    assert read(reader)[2] == {"q": "x", "a": "3", "kept": None}


def test_numbers_are_written_as_json_writes_them(write: Write) -> None:
    table = pa.table({"q": [1, 2, None], "a": [0.5, 2.0, None]})
    assert read(Parquet(write("x.parquet", parquet(table)))) == [
        {"q": "1", "a": "0.5"},
        {"q": "2", "a": "2.0"},
        {"q": None, "a": None},
    ]


def test_places_count_rows_over_batches(write: Write) -> None:
    table = pa.table({"q": ["x"] * 3_000, "a": ["y"] * 3_000})
    reader = Parquet(write("x.parquet", parquet(table)))
    assert [place for chunk in reader.chunks(QA) for place in chunk.places] == list(range(1, 3_001))


def test_other_types_are_no_prompt(write: Write) -> None:
    reader = Parquet(write("x.parquet", parquet(pa.table({"q": [b"x"], "a": ["y"]}))))
    with pytest.raises(MappingRefused, match=r'The column "q" of x\.parquet holds binary, not text'):
        read(reader)


def test_a_truncated_file_is_refused(write: Write) -> None:
    content = parquet(pa.table({"q": ["x"], "a": ["y"]}))
    with pytest.raises(FileRefused, match=r"^x\.parquet is damaged or cut short"):
        Parquet(write("x.parquet", content[:-30]))


def test_damaged_pages_are_refused(write: Write) -> None:
    content = bytearray(parquet(pa.table({"q": [f"text {n}" for n in range(2_000)], "a": ["y"] * 2_000})))
    content[10:600] = b"\xff" * 590
    with pytest.raises(FileRefused, match="is damaged and cannot be read to its end"):
        read(Parquet(write("x.parquet", bytes(content))))


def test_text_that_is_no_utf8_is_refused(write: Write) -> None:
    broken = pa.array([b"\xff\xfe"]).cast(pa.string(), safe=False)
    with pytest.raises(FileRefused, match="is damaged"):
        read(Parquet(write("x.parquet", parquet(pa.table({"q": broken, "a": ["y"]})))))


def test_equal_column_names_are_refused(write: Write) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["q", "q"])
    with pytest.raises(FileRefused, match='has two columns named "q"'):
        Parquet(write("x.parquet", parquet(table)))
