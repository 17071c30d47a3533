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

from workbench.datasets.conversation import Conversation, Conversations, RowRefused
from workbench.datasets.encoding import SourceFile
from workbench.datasets.errors import FileRefused
from workbench.datasets.formats import open_reader
from workbench.datasets.manifest import DIGEST_BYTES, Manifest, Segment
from workbench.datasets.mapping import quoted, recognise, sentence
from workbench.datasets.membership import drawn
from workbench.datasets.reader import Chunk, Reader
from workbench.datasets.schemas import Column, ColumnMapping, ColumnRole, ColumnRoles, Format
from workbench.datasets.store import SEGMENT_ROWS, SegmentWriter, Store

SAMPLED_ROWS = 50
#: For some formats, the roles whose columns may hold lists of messages; all other columns are texts.
NESTED_ROLES: dict[Format, frozenset[ColumnRole]] = {
    "messages": frozenset({"messages"}),
    "preference": frozenset({"prompt", "chosen", "rejected"}),
}


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
    given: ColumnRoles | None = None,
    *,
    segment_rows: int = SEGMENT_ROWS,
) -> Content:
    """Read a file of rows in any known format into the store.

    Raises `FileRefused` or `MappingRefused`, before anything is stored, with one sentence that names the place.
    """
    reader = open_reader(file)
    columns = reader.columns()
    names = [column.name for column in columns]
    if not names:
        raise file.refuse("has no rows")
    mapping = recognise(file.name, names, reader.text_columns, given, lambda: _sample(reader))
    plan = Plan.of(columns, mapping)
    rows = shortened = 0
    for chunk, conversations in _checked(reader, plan):
        rows += chunk.table.num_rows
        shortened += sum(conversation.shortened for conversation in conversations)
    if not rows:
        raise file.refuse("has no rows")
    reading = sentence(rows, reader.describe(), names, mapping, plan.converted, shortened)
    return _store(Store.of(home), reader, plan, drawing, reading, segment_rows)


def seal(home: Path, content: Content, parent: str | None) -> str:
    """Write the manifest of some content and return its hash. Rows that replace those of `parent` get fresh ids."""
    store = Store.of(home)
    shift = store.manifest(parent).next_rid if parent is not None else 0
    segments = tuple(segment.model_copy(update={"rid0": segment.rid0 + shift}) for segment in content.segments)
    manifest = Manifest(columns=content.columns, next_rid=content.rows + shift, parent=parent, segments=segments)
    return store.put_manifest(manifest)


@dataclass(frozen=True)
class Plan:
    """How a file is read: its mapping, the columns as they are stored, and those that are turned into text for it."""

    mapping: ColumnMapping
    columns: tuple[Column, ...]
    #: names of the columns that come as text
    texts: tuple[str, ...]
    #: those of them that are something else in the file
    converted: tuple[str, ...]

    @classmethod
    def of(cls, columns: Sequence[Column], mapping: ColumnMapping) -> "Plan":
        """Turn every mapped column into text but those that may hold lists of messages."""
        nested = NESTED_ROLES.get(mapping.format, frozenset())
        texts = tuple(name for role, name in mapping.roles.items() if role not in nested)
        converted = tuple(column.name for column in columns if column.name in texts and column.type != "string")
        stored = tuple(Column(name=each.name, type="string") if each.name in texts else each for each in columns)
        return cls(mapping, stored, texts, converted)


def _store(store: Store, reader: Reader, plan: Plan, drawing: Drawing, reading: str, segment_rows: int) -> Content:
    conversations = Conversations(plan.mapping, plan.columns)
    writer, content_hash, test, start = SegmentWriter(store, segment_rows), ContentHash(plan.columns), BitMap(), 0
    for chunk in reader.chunks(plan.texts):
        content_hash.update(chunk.table)
        keys = [conversation.key for conversation in conversations.of(chunk.table)]
        test |= drawn(keys, start, drawing.seed, drawing.test_fraction)
        writer.add(chunk.table)
        start += chunk.table.num_rows
    writer.flush()
    segments = tuple(writer.segments)
    return Content(plan.columns, segments, content_hash.hexdigest(), plan.mapping, drawing, test, reading)


def _checked(reader: Reader, plan: Plan) -> Iterator[tuple[Chunk, list[Conversation]]]:
    """Pass the rows on, refusing NUL characters anywhere and rows that are no conversation."""
    maker = Conversations(plan.mapping, plan.columns)
    for chunk in reader.chunks(plan.texts):
        for name, column in zip(chunk.table.column_names, chunk.table.columns, strict=True):
            if pa.types.is_string(column.type):
                index = pc.index(pc.match_substring(column, "\0"), True).as_py()
                if index >= 0:
                    raise _refused(reader, chunk, index, f"holds a NUL character in {quoted([name])}")
        yield chunk, _conversations(reader, chunk, maker)


def _conversations(reader: Reader, chunk: Chunk, maker: Conversations) -> list[Conversation]:
    made: list[Conversation] = []
    try:
        for conversation in maker.of(chunk.table):
            made.append(conversation)
    except RowRefused as error:
        raise _refused(reader, chunk, len(made), str(error)) from error
    return made


def _refused(reader: Reader, chunk: Chunk, index: int, reason: str) -> FileRefused:
    return reader.file.refuse(f"{reader.unit} {chunk.places[index]} {reason}")


def _sample(reader: Reader) -> list[dict[str, object]]:
    """Return the first rows, for a look at their values."""
    first = next(iter(reader.chunks()), None)
    return first.table.slice(0, SAMPLED_ROWS).to_pylist() if first is not None else []


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
