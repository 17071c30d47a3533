"""The file in a model's folder that holds the ids of the rows which trained it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyroaring import BitMap

NAME = "trained_rows.roar"


def write_rows(folder: Path, row_ids: Iterable[int]) -> None:
    """Write down which rows trained the model of a folder."""
    (folder / NAME).write_bytes(BitMap(row_ids).serialize())


def read_rows(folder: Path) -> BitMap:
    """Return the ids of the rows that trained the model of a folder; of a model without the file, none."""
    path = folder / NAME
    return BitMap.deserialize(path.read_bytes()) if path.exists() else BitMap()
