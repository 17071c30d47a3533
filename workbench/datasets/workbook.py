"""XLSX: the first sheet that is not empty, with a header; problems are reported with the number of the sheet's row."""

import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Literal

import fastexcel
import pyarrow as pa

from workbench.datasets.encoding import SourceFile
from workbench.datasets.reader import CHUNK_ROWS, MAX_COLUMNS, Chunk
from workbench.datasets.schemas import Column

MOST_BYTES = 64 << 20  # unpacked; a workbook is read as a whole, which takes ten times as much memory


class Workbook:
    """An Excel workbook; every cell is text, as a sheet shows it without formats."""

    unit: Literal["line", "row"] = "row"

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        _check_size(file)
        self._sheet, sheet = _first_sheet(file)
        rows = list(zip(*(column.to_pylist() for column in sheet.columns), strict=True))
        filled = [(place, row) for place, row in enumerate(rows, 1) if any(cell is not None for cell in row)]
        (place, header), self._rows = filled[0], filled[1:]
        self._header = self._names(place, header)

    def describe(self) -> str:
        """Return the format and the sheet."""
        return f'Excel (sheet "{self._sheet}")'

    def columns(self) -> list[Column]:
        """Return the header's columns, all of them text."""
        return [Column(name=name, type="string") for name in self._header.values()]

    def text_columns(self) -> list[str]:
        """Return the columns in which some cell is not a number."""
        return [
            name for place, name in self._header.items() if not all(_is_number(row[place]) for _, row in self._rows)
        ]

    def chunks(self, texts: Collection[str] = ()) -> Iterator[Chunk]:
        """Yield the rows below the header; blank rows are none."""
        for start in range(0, len(self._rows), CHUNK_ROWS):
            block = self._rows[start : start + CHUNK_ROWS]
            arrays = {
                name: pa.array([row[place] for _, row in block], pa.string()) for place, name in self._header.items()
            }
            yield Chunk(pa.table(arrays), [place for place, _ in block])

    def _names(self, place: int, header: tuple[str | None, ...]) -> dict[int, str]:
        """Return the columns by their place; a column without a name must be empty."""
        names = {index: name.strip() for index, name in enumerate(header) if name is not None and name.strip()}
        repeated = next((name for name, count in Counter(names.values()).items() if count > 1), None)
        if repeated is not None:
            raise self.file.refuse(f'row {place} names the column "{repeated}" twice; rename one of them')
        nameless = (row for row, cells in self._rows for index, cell in enumerate(cells) if cell and index not in names)
        beside = next(nameless, None)
        if beside is not None:
            raise self.file.refuse(f"row {beside} has a cell in a column that row {place} gives no name")
        if len(names) > MAX_COLUMNS:
            raise self.file.refuse(f"has more than {MAX_COLUMNS} columns")
        return names


def _check_size(file: SourceFile) -> None:
    try:
        with zipfile.ZipFile(file.path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise file.refuse("is damaged or no Excel workbook, and cannot be read") from error
    if size > MOST_BYTES:
        raise file.refuse(f"unpacks to more than {MOST_BYTES >> 20} MiB; save its rows as CSV")


def _first_sheet(file: SourceFile) -> tuple[str, pa.RecordBatch]:
    try:
        workbook = fastexcel.read_excel(file.path.read_bytes())
        for name in workbook.sheet_names:
            sheet = workbook.load_sheet(name, header_row=None, skip_rows=0, dtypes="string").to_arrow()
            if any(column.null_count < len(column) for column in sheet.columns):
                return name, sheet
    except fastexcel.FastExcelError as error:
        raise file.refuse("is damaged or no Excel workbook, and cannot be read") from error
    raise file.refuse("has no sheet with cells")


def _is_number(cell: str | None) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
