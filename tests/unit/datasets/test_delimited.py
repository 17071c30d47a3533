from __future__ import annotations

import csv
import io

import pytest

from workbench.datasets.delimited import Delimited
from workbench.datasets.errors import FileRefused

from .conftest import Write

QA = ("question", "answer")


def read(reader: Delimited) -> list[tuple[int, dict[str, str]]]:
    return [
        (place, row)
        for chunk in reader.chunks(QA)
        for place, row in zip(chunk.places, chunk.table.to_pylist(), strict=True)
    ]


@pytest.mark.parametrize(("delimiter", "word"), [(",", "comma"), (";", "semicolon"), ("\t", "tab")])
def test_the_delimiter_is_found(write: Write, delimiter: str, word: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([("question", "answer"), ("a, b; c\td", "x;y,z"), ("2", "3,5")])
    reader = Delimited(write("x.csv", text.getvalue()))
    assert reader.describe() == f"CSV (UTF-8, {word})"
    assert [row for _, row in read(reader)] == [
        {"question": "a, b; c\td", "answer": "x;y,z"},
        {"question": "2", "answer": "3,5"},
    ]


def test_rows_know_the_line_where_they_begin(write: Write) -> None:
    reader = Delimited(write("x.csv", 'question,answer\na,"two\nlines"\n\n"say ""hi""",b\r\n'))
    assert read(reader) == [
        (2, {"question": "a", "answer": "two\nlines"}),
        (5, {"question": 'say "hi"', "answer": "b"}),
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("only one", "line 100 has 1 cell where the header has 2"),
        ("one,two,three", "line 100 has 3 cells where the header has 2"),
        ('a,"b"c', "line 100 is not valid CSV: ',' expected after '\"'"),
        ('a,"never closed', "line 100 is not valid CSV: unexpected end of data"),
    ],
)
def test_a_bad_row_is_reported_with_its_line(write: Write, row: str, problem: str) -> None:
    lines = ["question,answer", 'q2,"spans', 'two lines"', *(f"q{n},a{n}" for n in range(4, 100)), row, "q101,a101"]
    with pytest.raises(FileRefused) as refused:
        read(Delimited(write("support.csv", "\n".join(lines))))
    assert refused.value.detail == f"support.csv {problem}."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n\n", "is empty"),
        ("a,b,a\n1,2,3\n", 'line 1 names the column "a" twice; rename one of them'),
        (
            '{"question": "a", "answer": "b"}\n',
            "is not a CSV file, as its name says, but JSON; give it the ending .jsonl",
        ),
        ('[["a", "b"]]\n', "but JSON"),
    ],
)
def test_a_file_without_a_table_is_refused(write: Write, text: str, problem: str) -> None:
    with pytest.raises(FileRefused) as refused:
        Delimited(write("x.csv", text))
    assert problem in refused.value.detail


def test_a_header_without_rows_has_no_rows(write: Write) -> None:
    assert read(Delimited(write("x.csv", "question,answer\n"))) == []


def test_the_unnamed_index_column_of_pandas_gets_a_name(write: Write) -> None:
    reader = Delimited(write("x.csv", ",question,answer\n0,a,b\n"))
    assert [column.name for column in reader.columns()] == ["column_1", "question", "answer"]


def test_columns_of_numbers_are_not_text(write: Write) -> None:
    reader = Delimited(write("x.csv", "n,when,what,score\n1,2020-01-01,x,0.5\n2,,y,\n3,,z,1e9\n"))
    assert reader.text_columns() == ["when", "what"]


def test_cells_may_be_longer_than_the_limit_of_the_csv_module(write: Write) -> None:
    long = "x" * 300_000
    assert read(Delimited(write("x.csv", f"question,answer\n{long},b\n")))[0][1]["question"] == long


def test_json_in_the_first_cell_of_a_header_is_no_json_file(write: Write) -> None:
    reader = Delimited(write("x.csv", '{question},answer\n"{""a"": 1}",b\n'))
    assert [column.name for column in reader.columns()] == ["{question}", "answer"]
