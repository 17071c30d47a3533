"""Parquet, read in batches; problems are reported with the number of their row (1 is the first)."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.datasets.encoding import SourceFile
from workbench.datasets.errors import MappingRefused
from workbench.datasets.reader import CHUNK_ROWS, MAX_COLUMNS, Chunk
from workbench.datasets.schemas import Column


class Parquet:
    """A Parquet file."""

    unit: Literal["line", "row"] = "row"

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._schema = self._read_schema()

    def describe(self) -> str:
        """Return the format."""
        return "Parquet"

    def columns(self) -> list[Column]:
        """Return the file's top-level columns."""
        return [Column(name=field.name, type=str(_plain(field.type))) for field in self._schema]

    def text_columns(self) -> list[str]:
        """Return the columns of a string type."""
        return [field.name for field in self._schema if pa.types.is_string(_plain(field.type))]

    def chunks(self, texts: Collection[str] = ()) -> Iterator[Chunk]:
        """Yield the rows; dictionary columns come as plain values, numbers that shall be text as JSON writes them."""
        for batch, places in self._batches():
            arrays = {
                name: self._text(name, array) if name in texts else array.cast(_plain(array.type))
                for name, array in zip(batch.schema.names, batch.columns, strict=True)
            }
            yield Chunk(pa.table(arrays), places)

    def _read_schema(self) -> pa.Schema:
        try:
            schema = pq.read_schema(self.file.path)
        except (OSError, pa.ArrowException) as error:
            raise self.file.refuse("is damaged or cut short, and cannot be read as Parquet") from error
        repeated = next((name for name, count in Counter(schema.names).items() if count > 1), None)
        if repeated is not None:
            raise self.file.refuse(f'has two columns named "{repeated}"; rename one of them')
        if any("\0" in name for name in schema.names) or len(schema.names) > MAX_COLUMNS:
            raise self.file.refuse(f"has more than {MAX_COLUMNS} columns or a NUL character in a column's name")
        return schema

    def _batches(self) -> Iterator[tuple[Any, Sequence[int]]]:
        start = 1
        try:
            with pq.ParquetFile(self.file.path) as content:
                for batch in content.iter_batches(CHUNK_ROWS):
                    batch.validate(full=True)
                    yield batch, range(start, start + batch.num_rows)
                    start += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise self.file.refuse("is damaged and cannot be read to its end") from error

    def _text(self, name: str, array: pa.Array) -> pa.Array:
        type_ = _plain(array.type)
        if pa.types.is_string(type_):
            return array.cast(pa.string())
        if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_):
            return pa.array([None if value is None else json.dumps(value) for value in array.to_pylist()], pa.string())
        raise MappingRefused(f'The column "{name}" of {self.file.name} holds {type_}, not text; choose another column.')


def _plain(type_: pa.DataType) -> pa.DataType:
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    return pa.string() if pa.types.is_large_string(type_) or pa.types.is_string_view(type_) else type_
