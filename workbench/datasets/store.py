"""Content-addressed files under one root: immutable Parquet segments and the manifests that order them.

The store knows neither the database nor prompts: names, authors and splits live above it.
"""

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap

from workbench.datasets.errors import DamagedStoreError
from workbench.datasets.manifest import Manifest, Segment, SegmentFile, SegmentStats, decode, digest

SEGMENT_ROWS = 65_536
SEGMENT_BYTES = 64 << 20  # of Arrow data; long rows make shorter segments
ROW_GROUP_ROWS = 4_096


@dataclass(frozen=True)
class Store:
    """A folder of `objects/` and `manifests/`."""

    root: Path

    @classmethod
    def of(cls, home: Path) -> "Store":
        """Return the dataset store of a home."""
        return cls(home / "datasets")

    def put_segment(self, table: pa.Table, rid0: int) -> Segment:
        """Store rows as one Parquet object and return the segment that names it."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_index=True)
        content = buffer.getvalue()
        oid = digest(content)
        write_once(self.object_path(oid), content)
        file = SegmentFile(oid=oid, cols=tuple(table.column_names))
        return Segment(rid0=rid0, rows=table.num_rows, files=(file,), stats=SegmentStats(size_bytes=len(content)))

    def put_manifest(self, manifest: Manifest) -> str:
        """Store a manifest and return its hash. Its segments must be stored already."""
        content = manifest.encode()
        name = digest(content)
        write_once(self.manifest_path(name), pa.compress(content, "zstd", asbytes=True))
        return name

    def manifest(self, name: str) -> Manifest:
        """Read the manifest with this hash."""
        try:
            with pa.CompressedInputStream(self.manifest_path(name), "zstd") as stream:
                content = stream.read()
        except OSError as error:
            detail = f"Manifest {name} cannot be read from the store; restore it from a backup."
            raise DamagedStoreError(detail) from error
        return decode(content, name)

    def scan(self, manifest: Manifest, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read all rows in order, at most one row group at a time."""
        for segment in manifest.segments:
            with self._open(segment) as file:
                for index in range(file.num_row_groups):
                    yield file.read_row_group(index, columns=list(columns)).select(list(columns))

    def take(self, manifest: Manifest, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Read the rows at ascending positions (0 is the first row of the version), opening only their row groups."""
        parts = []
        for index, inside in _grouped(positions, [segment.rows for segment in manifest.segments]):
            with self._open(manifest.segments[index]) as file:
                parts.append(_take(file, inside, columns))
        return pa.concat_tables(parts)

    def object_path(self, oid: str) -> Path:
        """Return where an object lies."""
        return self.root / "objects" / oid[:2] / f"{oid}.parquet"

    def manifest_path(self, name: str) -> Path:
        """Return where a manifest lies."""
        return self.root / "manifests" / f"{name}.json.zst"

    def _open(self, segment: Segment) -> pq.ParquetFile:
        path = self.object_path(segment.files[0].oid)
        try:
            return pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DamagedStoreError(
                f"Object {path.stem} cannot be read from the store; restore it from a backup."
            ) from error


def positions_of(manifest: Manifest, ids: BitMap) -> BitMap:
    """Return where the rows with these ids lie in a version; ids that it does not have are passed over."""
    found, start = BitMap(), 0
    for segment in manifest.segments:
        found |= BitMap(
            row - segment.rid0 + start for row in ids & BitMap(range(segment.rid0, segment.rid0 + segment.rows))
        )
        start += segment.rows
    return found


def row_ids(manifest: Manifest, positions: Sequence[int]) -> list[int]:
    """Return the ids of the rows at ascending positions."""
    grouped = _grouped(positions, [segment.rows for segment in manifest.segments])
    return [manifest.segments[index].rid0 + position for index, inside in grouped for position in inside]


def _grouped(positions: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Cut ascending positions by consecutive blocks of the given sizes, each relative to its block's start."""
    starts = [0, *accumulate(sizes)]
    for index, group in groupby(positions, lambda position: bisect_right(starts, position) - 1):
        yield index, [position - starts[index] for position in group]


def _take(file: pq.ParquetFile, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    parts = [
        file.read_row_group(index, columns=list(columns)).select(list(columns)).take(inside)
        for index, inside in _grouped(positions, sizes)
    ]
    return pa.concat_tables(parts)


class SegmentWriter:
    """Cuts a stream of tables into stored segments, holding at most one segment in memory."""

    def __init__(self, store: Store, segment_rows: int = SEGMENT_ROWS) -> None:
        self.segments: list[Segment] = []
        self._next_rid = 0
        self._store = store
        self._segment_rows = segment_rows
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def add(self, table: pa.Table) -> None:
        """Take rows in; store a segment whenever one is full."""
        while table.num_rows:
            head = table.slice(0, self._segment_rows - self._rows)
            table = table.slice(head.num_rows)
            self._pending.append(head)
            self._rows += head.num_rows
            self._bytes += head.nbytes
            if self._rows >= self._segment_rows or self._bytes >= SEGMENT_BYTES:
                self.flush()

    def flush(self) -> None:
        """Store the rows that wait."""
        if not self._rows:
            return
        table = pa.concat_tables(self._pending)
        self.segments.append(self._store.put_segment(table, self._next_rid))
        self._next_rid += self._rows
        self._pending, self._rows, self._bytes = [], 0, 0


def write_once(path: Path, content: bytes) -> None:
    """Write a content-addressed file so that it is there whole or not at all, also after a power cut."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name; its content and then the name are made durable."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
