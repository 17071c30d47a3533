from __future__ import annotations

from typing import Any

import pytest

from workbench.datasets.errors import FileRefused
from workbench.datasets.jsonlines import JSONLines

from .conftest import Write

QA = ("q", "a")


def read(reader: JSONLines) -> list[dict[str, Any]]:
    return [row for chunk in reader.chunks(QA) for row in chunk.table.to_pylist()]


def test_columns_keep_their_types_and_nested_values_become_json(write: Write) -> None:
    reader = JSONLines(
        write(
            "x.jsonl",
            '{"q": "é", "a": "b", "n": 1, "x": 1, "ok": true, "tags": ["ü", 1], '
            '"mixed": "s", "big": 9007199254740993}\n'
            '\n{"q": "c", "a": "d", "n": null, "x": 0.5, "mixed": 2, "empty": null}\n',
        )
    )
    types = {column.name: column.type for column in reader.columns()}
    assert types == {
        "q": "string",
        "a": "string",
        "n": "int64",
        "x": "double",
        "ok": "bool",
        "tags": "json",
        "mixed": "json",
        "big": "json",
        "empty": "string",
    }
    assert read(reader) == [
        {
            "q": "é",
            "a": "b",
            "n": 1,
            "x": 1.0,
            "ok": True,
            "tags": '["ü", 1]',
            "mixed": '"s"',
            "big": "9007199254740993",
            "empty": None,
        },
        {
            "q": "c",
            "a": "d",
            "n": None,
            "x": 0.5,
            "ok": None,
            "tags": None,
            "mixed": "2",
            "big": None,
            "empty": None,
        },
    ]
    assert reader.text_columns() == ["q", "a", "empty"]


def test_numbers_in_a_mapped_column_are_written_as_json_writes_them(write: Write) -> None:
    reader = JSONLines(write("x.jsonl", '{"q": 1, "a": "one"}\n{"q": 2.50, "a": true}\n'))
    assert read(reader) == [{"q": "1", "a": "one"}, {"q": "2.5", "a": "true"}]


def test_places_are_lines_of_the_file(write: Write) -> None:
    reader = JSONLines(write("x.jsonl", '\n{"q": "1", "a": "x"}\r\n\n{"q": "2", "a": "y\\u2028"}\n'))
    assert [place for chunk in reader.chunks(QA) for place in chunk.places] == [2, 4]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"q": "1", "a": }', "is not valid JSON: expecting value"),
        ('{"q": "1"', "is not valid JSON: expecting ',' delimiter"),
        ('{"q": "1"} {"q": "2"}', "is not valid JSON: extra data"),
        ('{"q": NaN}', "is not valid JSON: naN is no JSON value"),
        ("[" * 100_000, "is not valid JSON: "),
        ("9" * 5_000, "is not valid JSON: "),
        ('{"q": "\\ud83d"}', "is not valid JSON: it holds half of a surrogate pair"),
        ('["q", "a"]', "is not a JSON object such as"),
        ('"text"', "is not a JSON object such as"),
        ("question,answer", "is not valid JSON: expecting value"),
        ('{"q\\u0000": 1}', "holds a NUL character in a key"),
    ],
)
def test_a_bad_line_is_reported_with_its_number(write: Write, line: str, problem: str) -> None:
    with pytest.raises(FileRefused) as refused:
        JSONLines(write("x.jsonl", f'{{"q": "1", "a": "2"}}\n\n{line}\n'))
    assert refused.value.detail.startswith(f"x.jsonl line 3 {problem}")


def test_nested_values_are_no_prompt(write: Write) -> None:
    reader = JSONLines(write("x.jsonl", '{"q": "1", "a": "2"}\n{"q": [{"role": "user"}], "a": "2"}\n'))
    with pytest.raises(FileRefused, match='line 2 has no text in "q" but a nested value'):
        read(reader)


def test_too_many_keys_are_refused(write: Write) -> None:
    lines = "".join(f'{{"k{n}": 1}}\n' for n in range(1_001))
    with pytest.raises(FileRefused, match="more than 1000 different keys up to line 1001"):
        JSONLines(write("x.jsonl", lines))
