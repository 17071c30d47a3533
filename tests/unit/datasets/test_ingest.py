from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import Invalid
from workbench.datasets.encoding import SourceFile
from workbench.datasets.ingest import Content, ContentHash, Drawing, ingest, seal
from workbench.datasets.preview import page
from workbench.datasets.schemas import Column
from workbench.datasets.split import assign
from workbench.datasets.store import Store

from .conftest import Write, reference

DRAWING = Drawing(0.3, 5)
QUESTIONS = "question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(20))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=12)


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("question", "answer"), *rows])
    return text.getvalue().encode()


def as_jsonl(rows: list[tuple[str, str]]) -> bytes:
    return b"".join(json.dumps({"question": q, "answer": a}).encode() + b"\n" for q, a in rows)


def as_parquet(rows: list[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    prompts, completions = zip(*rows, strict=True)
    pq.write_table(pa.table({"question": prompts, "answer": completions}), buffer)
    return buffer.getvalue()


FORMATS = {".csv": as_csv, ".jsonl": as_jsonl, ".parquet": as_parquet}


def stored(home: Path, ending: str, rows: list[tuple[str, str]]) -> Content:
    source = home / f"upload{ending}"
    source.write_bytes(FORMATS[ending](rows))
    return ingest(home, SourceFile(source, source.name), DRAWING, segment_rows=5)


@pytest.mark.parametrize("ending", FORMATS)
@settings(deadline=None, max_examples=40)
@given(rows=pairs)
def test_rows_in_are_rows_out(ending: str, rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        content = stored(home, ending, rows)
        found = page(home, reference(home, content), 0, 100).items
        assert [(row.prompt, row.completion) for row in found] == rows
        assert [row.split for row in found] == [assign(prompt, 5, 0.3) for prompt, _ in rows]


@settings(deadline=None, max_examples=15)
@given(rows=pairs)
def test_equal_rows_have_one_content_hash_in_every_format(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        assert len({stored(Path(folder), ending, rows).content_hash for ending in FORMATS}) == 1


@pytest.mark.parametrize("changed", ["q3,a4\n", "q3a,3\n", "q3, a3\n"])
def test_another_cell_is_another_content_hash(home: Path, write: Write, changed: str) -> None:
    one = ingest(home, write("x.csv", QUESTIONS), DRAWING)
    other = ingest(home, write("x.csv", QUESTIONS.replace("q3,a3\n", changed)), DRAWING)
    assert one.content_hash != other.content_hash


def test_the_content_hash_does_not_depend_on_segments(home: Path, write: Write) -> None:
    hashes = {ingest(home, write("x.csv", QUESTIONS), DRAWING, segment_rows=n).content_hash for n in (3, 7, 100)}
    assert len(hashes) == 1


def test_null_and_the_empty_text_differ() -> None:
    hashes = set()
    for value in (None, "", "null"):
        content = ContentHash([Column(name="x", type="string")])
        content.update(pa.table({"x": pa.array([value], pa.string())}))
        hashes.add(content.hexdigest())
    assert len(hashes) == 3


def test_the_reading_says_what_was_taken(home: Path, write: Write) -> None:
    file = write("x.jsonl", '{"id": 1, "question": "2+2", "answer": 4}\n')
    assert ingest(home, file, DRAWING).reading == (
        'Read 1 row of JSON Lines (UTF-8): took column "question" for the prompt and "answer" for the completion; '
        'wrote the values of "answer" as text; ignored "id".'
    )


def test_other_columns_are_kept(home: Path, write: Write) -> None:
    content = ingest(home, write("x.csv", "id,question,answer\n7,q,a\n"), DRAWING)
    store = Store.of(home)
    (table,) = store.scan(store.manifest(seal(home, content, None)), ["id"])
    assert table.to_pylist() == [{"id": "7"}]


def test_rows_that_replace_others_get_fresh_ids(home: Path, write: Write) -> None:
    first = seal(home, ingest(home, write("x.csv", QUESTIONS), DRAWING), None)
    content = ingest(home, write("x.csv", QUESTIONS), DRAWING, segment_rows=6)
    data = reference(home, content, parent=first)
    assert [row.row_id for row in page(home, data, 0, 50).items] == list(range(20, 40))
    manifest = Store.of(home).manifest(data.manifest)
    assert (manifest.parent, manifest.next_rid) == (first, 40)


BAD: list[tuple[str, Any, str]] = [
    ("x.csv", "question,answer\n", "x.csv has no rows."),
    ("x.csv", "question,answer\nq,a\nshort\n", "x.csv line 3 has 1 cell where the header has 2."),
    ("x.csv", 'question,answer\n"q\nq",a\nq, \n', 'x.csv line 4 has an empty "answer"; fill it in or remove the row.'),
    ("x.csv", "question,answer\n,a\n", 'x.csv line 2 has an empty "question"; fill it in or remove the row.'),
    ("x.jsonl", "\n\n", "x.jsonl has no rows"),
    ("x.jsonl", '{"question": "q", "answer": null}', 'x.jsonl line 1 has an empty "answer"'),
    ("x.jsonl", '{"question": "q", "answer": "a"}\n{"question": "q"}', 'x.jsonl line 2 has an empty "answer"'),
    ("x.jsonl", '{"question": "q\\u0000", "answer": "a"}', 'x.jsonl line 1 holds a NUL character in "question".'),
    ("x.jsonl", '{"question": "q", "answer": "a", "z": "\\u0000"}', 'x.jsonl line 1 holds a NUL character in "z".'),
    ("x.parquet", as_parquet([("q", "a"), ("q", "\u3000\n")]), 'x.parquet row 2 has an empty "answer"'),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD)
def test_bad_input_is_refused_and_nothing_is_stored(
    home: Path, write: Write, name: str, content: str | bytes, problem: str
) -> None:
    with pytest.raises(Invalid) as refused:
        ingest(home, write(name, content), DRAWING)
    assert refused.value.detail.startswith(problem)
    assert not home.exists()


def test_an_error_at_the_end_of_a_long_file_stores_nothing(home: Path, write: Write) -> None:
    text = "question,answer\n" + "q,a\n" * 5_000 + "q\n"
    with pytest.raises(Invalid, match="line 5002 has 1 cell"):
        ingest(home, write("x.csv", text), DRAWING, segment_rows=100)
    assert not home.exists()
