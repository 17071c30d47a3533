"""Excel workbooks: the first sheet that is not empty, its first row the names of the columns."""

import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import fastexcel
import pyarrow as pa

from workbench.datasets.parquet import Parquet
from workbench.datasets.reader import CHUNK_ROWS

UNPACKED_BYTES = 4 * 2**30  # a workbook that unpacks to more is refused
FIRST_ROW = 2  # below the header, as Excel numbers rows


class Workbook(Parquet):
    """An `.xlsx` file. Rows without any value are passed over; problems are reported by Excel's row numbers."""

    def describe(self) -> str:
        """Return the format, with the sheet that is read."""
        return f'Excel (sheet "{self._sheet[0]}")'

    @cached_property
    def _sheet(self) -> tuple[str, pa.Table]:
        try:
            self._refuse_bomb()
            workbook = fastexcel.read_excel(self.file.path)
            for name in workbook.sheet_names:
                batch = workbook.load_sheet(name).to_arrow()
                if batch.num_columns and batch.num_rows:
                    return name, pa.table(batch)
        except (fastexcel.FastExcelError, zipfile.BadZipFile, pa.ArrowException) as error:
            raise self.file.refuse("is damaged or no Excel workbook, and cannot be read") from error
        raise self.file.refuse("has no sheet with rows below a header")

    def _refuse_bomb(self) -> None:
        with zipfile.ZipFile(self.file.path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > UNPACKED_BYTES:
            raise self.file.refuse("unpacks to more than 4 GiB; save it as CSV or Parquet")

    def _read_schema(self) -> pa.Schema:
        return self._checked(self._sheet[1].schema)

    def _batches(self) -> Iterator[tuple[Any, Sequence[int]]]:
        start = 0
        for batch in self._sheet[1].to_batches(CHUNK_ROWS):
            rows = [row for row in range(batch.num_rows) if any(column[row].is_valid for column in batch.columns)]
            yield batch.take(pa.array(rows, pa.int64())), [FIRST_ROW + start + row for row in rows]
            start += batch.num_rows
