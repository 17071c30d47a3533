"""CSV and TSV, read strictly: every problem is reported with its line."""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Literal

import pyarrow as pa

from workbench.datasets.encoding import SourceFile, detect, label, text_lines
from workbench.datasets.reader import CHUNK_ROWS, MAX_COLUMNS, Chunk
from workbench.datasets.schemas import Column

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
SNIFFED_RECORDS = 50
CELL_CHARACTERS = 16 << 20  # a quote that is never closed swallows no more than this

Record = tuple[int, list[str]]


class Delimited:
    """A CSV or TSV file with a header."""

    unit: Literal["line", "row"] = "line"

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._codec = detect(file)
        self._refuse_json()
        self._delimiter = max(DELIMITERS, key=self._fitness)
        self._header = self._read_header()

    def describe(self) -> str:
        """Return the format, encoding and delimiter."""
        return f"CSV ({label(self._codec)}, {DELIMITERS[self._delimiter]})"

    def columns(self) -> list[Column]:
        """Return the header's columns, all of them text."""
        return [Column(name=name, type="string") for name in self._header]

    def text_columns(self) -> list[str]:
        """Return the columns in which some cell is not a number. Reads the file until that is known for each."""
        numeric = dict(enumerate(self._header))
        for _, cells in self._rows():
            for index in [index for index in numeric if not _is_number(cells[index])]:
                del numeric[index]
            if not numeric:
                break
        return [name for index, name in enumerate(self._header) if index not in numeric]

    def chunks(self, texts: Collection[str] = ()) -> Iterator[Chunk]:
        """Yield the rows below the header, every cell as a string."""
        rows = self._rows()
        while block := list(islice(rows, CHUNK_ROWS)):
            cells = zip(*(cells for _, cells in block), strict=True)
            arrays = [pa.array(column, pa.string()) for column in cells]
            yield Chunk(pa.table(arrays, names=self._header), [line for line, _ in block])

    def _rows(self) -> Iterator[Record]:
        width = len(self._header)
        for line, cells in islice(self._records(self._delimiter), 1, None):
            if len(cells) != width:
                raise self.file.refuse(f"line {line} has {_counted(len(cells))} where the header has {width}")
            yield line, cells

    def _records(self, delimiter: str) -> Iterator[Record]:
        """Yield each record with the line on which it begins; blank lines are none."""
        csv.field_size_limit(CELL_CHARACTERS)
        reader = csv.reader(text_lines(self.file, self._codec), delimiter=delimiter, strict=True)
        while True:
            start = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self.file.refuse(f"line {start} is not valid CSV: {error}") from error
            if cells:
                yield start, cells

    def _fitness(self, delimiter: str) -> tuple[float, int]:
        """Rate a delimiter: the share of the first records that are as wide as the header, then that width."""
        lines = islice(text_lines(self.file, self._codec), SNIFFED_RECORDS)
        widths = [len(cells) for cells in _lenient(lines, delimiter) if cells]
        if not widths or widths[0] < 2:
            return 0.0, 0
        return Counter(widths)[widths[0]] / len(widths), widths[0]

    def _read_header(self) -> list[str]:
        record = next(self._records(self._delimiter), None)
        if record is None:
            raise self.file.refuse("is empty")
        line, cells = record
        names = [name.strip() or f"column_{number}" for number, name in enumerate(cells, 1)]
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise self.file.refuse(f'line {line} names the column "{repeated}" twice; rename one of them')
        if len(names) > MAX_COLUMNS:
            raise self.file.refuse(f"has {_counted(len(names))} on line {line}; at most {MAX_COLUMNS} are read")
        return names

    def _refuse_json(self) -> None:
        first = next((line for line in text_lines(self.file, self._codec) if line.strip()), "")
        try:
            document = json.loads(first) if first.lstrip().startswith(("{", "[")) else None
        except (ValueError, RecursionError):
            return
        if document is not None:
            raise self.file.refuse("is not a CSV file, as its name says, but JSON; give it the ending .jsonl")


def _lenient(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except (StopIteration, csv.Error):
            return


def _counted(cells: int) -> str:
    return f"{cells} cell" if cells == 1 else f"{cells} cells"


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
