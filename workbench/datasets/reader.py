"""What every reader of an uploaded file offers."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import pyarrow as pa

from workbench.datasets.encoding import SourceFile
from workbench.datasets.schemas import Column

CHUNK_ROWS = 1_024
MAX_COLUMNS = 1_000


@dataclass(frozen=True)
class Chunk:
    """Some rows, and the line or row number where each of them begins in the file."""

    table: pa.Table
    places: Sequence[int]


class Reader(Protocol):
    """A file opened for reading. Each call of `chunks` reads it from the start, in bounded memory."""

    file: SourceFile
    #: what places count
    unit: Literal["line", "row"]

    def describe(self) -> str:
        """Return the format in words, such as "CSV (UTF-8, comma)"."""

    def columns(self) -> list[Column]:
        """Return the columns in their order."""

    def text_columns(self) -> list[str]:
        """Return the names of the columns that hold text rather than numbers or nested values."""

    def chunks(self, texts: Collection[str] = ()) -> Iterator[Chunk]:
        """Yield all rows; the columns named in `texts` come as strings, numbers among them as JSON writes them."""
