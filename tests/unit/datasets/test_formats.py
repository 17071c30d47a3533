from __future__ import annotations

import pytest

from workbench.datasets.errors import FileRefused
from workbench.datasets.formats import open_reader

from .conftest import Write

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
ENDINGS = "none of the endings .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .xlsx; convert it to one of these formats"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.csv", b"", "is empty"),
        ("x.jsonl", b"", "is empty"),
        ("x.parquet", b"", "is empty"),
        ("x.csv", PNG, "is not a CSV file, as its name says, but a PNG image"),
        ("x.jsonl", b"PAR1\x15\x04", "is not a JSON Lines file, as its name says, but a Parquet file"),
        ("x.tsv", b"PK\x03\x04", "is not a TSV file, as its name says, but a ZIP archive or an Excel workbook"),
        ("x.csv", b"\x1f\x8b\x08", "is not a CSV file, as its name says, but a gzip archive"),
        ("x.parquet", b"question,answer\n", "is not a Parquet file, as its name says, but something else"),
        ("x.parquet", PNG, "is not a Parquet file, as its name says, but a PNG image"),
        ("x.xls", b"\xd0\xcf\x11\xe0", f"has {ENDINGS}"),
        ("x.xlsx", b"\xd0\xcf\x11\xe0", "is not an Excel workbook, as its name says, but an old Excel workbook"),
        ("x.xlsx", b"question,answer\n", "is not an Excel workbook, as its name says, but something else"),
        ("x.json", b"PAR1\x15\x04", "is not a JSON file, as its name says, but a Parquet file"),
        ("README", b"text", f"has {ENDINGS}"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    write: Write, name: str, content: bytes, problem: str
) -> None:
    with pytest.raises(FileRefused) as refused:
        open_reader(write(name, content))
    assert refused.value.detail == f"{name} {problem}."
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("name", "content", "described"),
    [
        ("x.CSV", b"question,answer\na,b\n", "CSV (UTF-8, comma)"),
        ("x.tsv", b"question\tanswer\na\tb\n", "CSV (UTF-8, tab)"),
        ("x.jsonl", b'{"q": "a"}\n', "JSON Lines (UTF-8)"),
        ("x.ndjson", b'\xef\xbb\xbf{"q": "a"}\n', "JSON Lines (UTF-8)"),
        ("x.json", b'[{"q": "a"}]', "JSON (UTF-8)"),
        ("x.json", b'{"q": "a"}\n\n{"q": "b"}\n', "JSON Lines (UTF-8)"),
        ("x.json", b'{"version": 1, "data": [{"q": "a"}]}', "JSON (UTF-8)"),
    ],
)
def test_the_ending_chooses_the_reader(write: Write, name: str, content: bytes, described: str) -> None:
    assert open_reader(write(name, content)).describe() == described
