"""Every format in every kind of file becomes the same rows."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.datasets.errors import FileRefused, MappingRefused
from workbench.datasets.ingest import Content, Drawing, ingest
from workbench.datasets.preview import page
from workbench.datasets.schemas import ColumnRoles, Row

from .conftest import Write, reference

Rows = Sequence[Mapping[str, Any]]

SHEET = """<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>
{rows}</sheetData></worksheet>"""
PARTS = {
    "[Content_Types].xml": """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml"
ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>""",
    "_rels/.rels": """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
Target="xl/workbook.xml"/></Relationships>""",
    "xl/workbook.xml": """<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"
xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>
<sheet name="Empty" sheetId="1" r:id="r1"/><sheet name="Rows" sheetId="2" r:id="r2"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<?xml version="1.0"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
Target="worksheets/sheet1.xml"/>
<Relationship Id="r2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
Target="worksheets/sheet2.xml"/></Relationships>""",
    "xl/worksheets/sheet1.xml": SHEET.format(rows=""),
}


def flat(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps({"version": 2, "rows": list(rows)}, indent=1).encode()


def as_csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([list(rows[0]), *([flat(value) for value in row.values()] for row in rows)])
    return text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), content)
    return content.getvalue()


def as_xlsx(rows: Rows, *cells: Sequence[Any], compress: bool = False) -> bytes:
    lines = [list(rows[0]), *([flat(value) for value in row.values()] for row in rows), *cells]
    body = "".join(
        f'<row r="{number}">' + "".join(_cell(number, place, value) for place, value in enumerate(line)) + "</row>"
        for number, line in enumerate(lines, 1)
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, part in {**PARTS, "xl/worksheets/sheet2.xml": SHEET.format(rows=body)}.items():
            archive.writestr(name, part)
    return content.getvalue()


def _cell(row: int, column: int, value: Any) -> str:
    place = f"{chr(65 + column)}{row}"
    if value == "":
        return ""
    if isinstance(value, int):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    ".jsonl": as_jsonl,
    ".json": as_json,
    ".csv": as_csv,
    ".parquet": as_parquet,
    ".xlsx": as_xlsx,
}


def turns(
    *texts: str, speaker: str = "role", text: str = "content", names: tuple[str, str] = ("user", "assistant")
) -> Any:
    return [{speaker: names[place % 2], text: each} for place, each in enumerate(texts)]


FORMATS: dict[str, Rows] = {
    "prompt_completion": [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(3)],
    "alpaca": [{"instruction": f"What is {n}?", "input": "", "output": f"It is {n}."} for n in range(3)],
    "messages": [{"messages": turns(f"What is {n}?", f"It is {n}.")} for n in range(3)],
    "sharegpt": [
        {"conversations": turns(f"What is {n}?", f"It is {n}.", speaker="from", text="value", names=("human", "gpt"))}
        for n in range(3)
    ],
    "preference": [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No idea."} for n in range(3)],
    "implicit": [
        {"chosen": turns(f"What is {n}?", f"It is {n}."), "rejected": turns(f"What is {n}?", "No idea.")}
        for n in range(3)
    ],
    "text": [{"text": f"It is {n}."} for n in range(3)],
}


def load(home: Path, write: Write, name: str, content: bytes, **given: Any) -> Content:
    return ingest(home, write(name, content), Drawing(0.0, 0), ColumnRoles(**given))


def rows_of(home: Path, content: Content) -> list[Row]:
    return page(home, reference(home, content), 0, 50).items


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_every_kind_of_file(home: Path, write: Write, ending: str, name: str) -> None:
    content = load(home, write, f"x{ending}", WRITERS[ending](FORMATS[name]))
    rows = rows_of(home, content)
    assert [row.completion for row in rows] == [f"It is {n}." for n in range(3)], content.reading
    if name != "text":
        assert [row.prompt for row in rows] == [f"What is {n}?" for n in range(3)], content.reading
        assert [message.role for message in rows[0].messages] == ["user", "assistant"]
    assert [row.rejected for row in rows] == ["No idea." if name in ("preference", "implicit") else None] * 3


def test_the_reading_says_what_was_taken_for_what(home: Path, write: Write) -> None:
    content = load(home, write, "x.json", as_json(FORMATS["sharegpt"]))
    assert content.reading == 'Read 3 rows of JSON (UTF-8): took column "conversations" for the conversation.'
    content = load(home, write, "x.xlsx", as_xlsx(FORMATS["alpaca"][:1], ["", "", ""], ["Add", "1 2", 3]))
    assert content.reading == (
        'Read 2 rows of Excel (sheet "Rows"): took column "instruction" for the prompt, "output" for the completion '
        'and "input" for its input.'
    )
    assert rows_of(home, content)[1].prompt == "Add\n\n1 2"
    assert rows_of(home, content)[1].completion == "3", "a whole number is no fraction"


def test_an_excel_row_has_the_number_that_excel_shows(home: Path, write: Write) -> None:
    content = as_xlsx([{"question": "a", "answer": "b"}], ["", ""], ["c", "d"], ["", ""], ["e", ""])
    with pytest.raises(FileRefused, match='row 6 has an empty "answer"'):
        load(home, write, "x.xlsx", content)


def test_a_workbook_that_unpacks_to_too_much_is_refused(home: Path, write: Write) -> None:
    with pytest.raises(FileRefused, match="unpacks to more than 64 MiB"):
        load(home, write, "x.xlsx", as_xlsx([{"question": "a" * (65 << 20), "answer": "b"}], compress=True))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "x.jsonl",
            as_jsonl([{"messages": turns("a", "b")}, {"messages": turns("a")}]),
            "line 2 has no answer to a question",
        ),
        ("x.json", as_json([{"messages": turns("a", "b")}, {"messages": []}]), "row 2 has no list of messages"),
        ("x.csv", b"chosen,rejected,prompt\nb,c,a\nb,b,a\n", "line 3 has the same chosen and rejected answer"),
        ("x.xlsx", as_xlsx([{"question": "a", "answer": "b"}], ["", ""], ["c", ""]), 'row 4 has an empty "answer"'),
        ("x.parquet", as_parquet([{"text": "a"}, {"text": " "}]), 'row 2 has an empty "text"'),
        ("x.json", b'[{"q": "a", "a": "b"},\n{"q": "a" "a": "b"}]', "line 2 is not valid JSON"),
        ("x.json", b'[{"q": "a", "a": "b"}, 3]', "row 2 is not a JSON object"),
        (
            "x.json",
            b'{"a": [{"q": 1}], "b": [{"q": 1}]}',
            "is neither an array of objects nor an object that holds one",
        ),
        ("x.json", b"3", "is neither an array of objects"),
        ("x.json", b"[" * 100_000, "line 1 is not valid JSON"),
        ("x.json", b"[]", "has no rows"),
        ("x.xlsx", b"PK\x03\x04garbage", "is damaged or no Excel workbook"),
        ("x.xlsx", as_xlsx([{"question": "a", "answer": "b"}])[:-60], "is damaged or no Excel workbook"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    home: Path, write: Write, name: str, content: bytes, problem: str
) -> None:
    with pytest.raises((FileRefused, MappingRefused)) as refused:
        load(home, write, name, content)
    assert problem in refused.value.detail
    assert refused.value.detail.startswith(f"{name} ") or "Cannot tell" in refused.value.detail
    assert not (home / "datasets").exists(), "something was stored"


def test_equal_prompts_stay_on_one_side_whatever_the_format(home: Path, write: Write) -> None:
    sides = []
    for name in ("prompt_completion", "alpaca", "messages", "sharegpt", "preference"):
        rows = [row for row in FORMATS[name] for _ in range(2)]
        content = ingest(home, write("x.jsonl", as_jsonl(rows)), Drawing(0.5, 1))
        sides.append(sorted(content.test))
    assert all(side == sides[0] for side in sides)
    assert all((place ^ 1) in sides[0] for place in sides[0])
