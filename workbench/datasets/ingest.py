"""From an uploaded file to stored rows: the whole file is checked before the first byte is stored."""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from workbench.datasets.encoding import SourceFile
from workbench.datasets.formats import open_reader
from workbench.datasets.manifest import DIGEST_BYTES, Manifest, Segment
from workbench.datasets.mapping import quoted, recognise, sentence
from workbench.datasets.membership import drawn
from workbench.datasets.reader import Chunk, Reader
from workbench.datasets.schemas import Column, ColumnMapping
from workbench.datasets.store import SEGMENT_ROWS, SegmentWriter, Store


@dataclass(frozen=True)
class Drawing:
    """How rows are drawn for the test side."""

    test_fraction: float
    seed: int


@dataclass(frozen=True)
class Content:
    """Stored rows that no manifest names yet. Their row ids start at 0 until `seal` places them."""

    columns: tuple[Column, ...]
    segments: tuple[Segment, ...]
    content_hash: str
    mapping: ColumnMapping
    drawing: Drawing
    #: positions of the test rows
    test: BitMap
    reading: str

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(segment.rows for segment in self.segments)

    @property
    def size_bytes(self) -> int:
        """Bytes of the stored segments."""
        return sum(segment.stats.size_bytes for segment in self.segments)


def ingest(
    home: Path,
    file: SourceFile,
    drawing: Drawing,
    *,
    prompt: str | None = None,
    completion: str | None = None,
    segment_rows: int = SEGMENT_ROWS,
) -> Content:
    """Read a JSON Lines, CSV or Parquet file into the store.

    Raises `FileRefused` or `MappingRefused`, before anything is stored, with one sentence that names the place.
    """
    reader = open_reader(file)
    names = [column.name for column in reader.columns()]
    mapping = recognise(file.name, names, reader.text_columns, prompt, completion)
    rows = sum(chunk.table.num_rows for chunk in _checked(reader, mapping))
    if not rows:
        raise file.refuse("has no rows")
    converted = [column.name for column in reader.columns() if _is_mapped(column, mapping) and column.type != "string"]
    reading = sentence(rows, reader.describe(), names, mapping, converted)
    return _store(Store.of(home), reader, mapping, drawing, reading, segment_rows)


def seal(home: Path, content: Content, parent: str | None) -> str:
    """Write the manifest of some content and return its hash. Rows that replace those of `parent` get fresh ids."""
    store = Store.of(home)
    shift = store.manifest(parent).next_rid if parent is not None else 0
    segments = tuple(segment.model_copy(update={"rid0": segment.rid0 + shift}) for segment in content.segments)
    manifest = Manifest(columns=content.columns, next_rid=content.rows + shift, parent=parent, segments=segments)
    return store.put_manifest(manifest)


def _store(
    store: Store, reader: Reader, mapping: ColumnMapping, drawing: Drawing, reading: str, segment_rows: int
) -> Content:
    columns = tuple(_stored(column, mapping) for column in reader.columns())
    writer, content_hash, test, start = SegmentWriter(store, segment_rows), ContentHash(columns), BitMap(), 0
    for chunk in reader.chunks(mapping):
        content_hash.update(chunk.table)
        prompts = chunk.table.column(mapping.prompt).to_pylist()
        test |= drawn(prompts, start, drawing.seed, drawing.test_fraction)
        writer.add(chunk.table)
        start += chunk.table.num_rows
    writer.flush()
    return Content(columns, tuple(writer.segments), content_hash.hexdigest(), mapping, drawing, test, reading)


def _checked(reader: Reader, mapping: ColumnMapping) -> Iterator[Chunk]:
    """Pass the rows on, refusing NUL characters anywhere and mapped cells without text."""
    for chunk in reader.chunks(mapping):
        for name, column in zip(chunk.table.column_names, chunk.table.columns, strict=True):
            if pa.types.is_string(column.type):
                _refuse_first(
                    reader, chunk, pc.match_substring(column, "\0"), f"holds a NUL character in {quoted([name])}"
                )
        for name in (mapping.prompt, mapping.completion):
            blank = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(chunk.table.column(name), "")), "")
            _refuse_first(reader, chunk, blank, f"has an empty {quoted([name])}; fill it in or remove the row")
        yield chunk


def _refuse_first(reader: Reader, chunk: Chunk, found: pa.ChunkedArray, reason: str) -> None:
    index = pc.index(found, True).as_py()
    if index >= 0:
        raise reader.file.refuse(f"{reader.unit} {chunk.places[index]} {reason}")


def _is_mapped(column: Column, mapping: ColumnMapping) -> bool:
    return column.name in (mapping.prompt, mapping.completion)


def _stored(column: Column, mapping: ColumnMapping) -> Column:
    return Column(name=column.name, type="string") if _is_mapped(column, mapping) else column


class ContentHash:
    """A running blake2b-128 of the logical content: column names, types and values, however they are cut and stored."""

    def __init__(self, columns: Sequence[Column]) -> None:
        header = json.dumps([[column.name, column.type] for column in columns]).encode()
        self._total = blake2b(header, digest_size=DIGEST_BYTES)
        self._columns = [(blake2b(), blake2b()) for _ in columns]

    def update(self, table: pa.Table) -> None:
        """Take the next rows in."""
        for (lengths, values), column in zip(self._columns, table.columns, strict=True):
            texts = [_canonical(value) for value in column.to_pylist()]
            sizes = [-1 if text is None else len(text) for text in texts]
            lengths.update(struct.pack(f"<{len(sizes)}q", *sizes))
            values.update(b"".join(text for text in texts if text is not None))

    def hexdigest(self) -> str:
        """Return the hash of all rows so far."""
        total = self._total.copy()
        for lengths, values in self._columns:
            total.update(lengths.digest() + values.digest())
        return total.hexdigest()


def _canonical(value: object) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text.encode()
