from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from workbench.datasets import materialise as module
from workbench.datasets.materialise import materialise, read
from workbench.datasets.schemas import Split
from workbench.datasets.split import assign

from .conftest import Stored


def load(path: Path) -> list[dict[str, Any]]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return list(stream.read_all().to_pylist())


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_the_file_holds_the_rows_of_the_split_in_their_order(home: Path, stored: Stored, split: Split) -> None:
    rows = load(materialise(home, stored(60, split)))
    expected = [n for n in range(60) if split in ("all", assign(f"What is {n}?", 0, 0.2))]
    assert [row["row_id"] for row in rows] == expected
    assert [row["messages"] for row in rows] == [
        [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"It is {n}."}]
        for n in expected
    ]
    assert all(row["text"] is None and row["rejected"] is None for row in rows)


def test_what_is_read_back_is_what_was_written(home: Path, stored: Stored) -> None:
    found = list(read(materialise(home, stored(3))))
    assert [(row_id, row.transcript, row.answer) for row_id, row in found] == [
        (n, f"What is {n}?", f"It is {n}.") for n in range(3)
    ]


def test_the_datasets_library_opens_it(home: Path, stored: Stored) -> None:
    from datasets import Dataset

    dataset = Dataset.from_file(str(materialise(home, stored(60, "train"))))
    assert dataset.column_names == ["row_id", "messages", "text", "rejected"]
    assert dataset[0]["messages"][0]["content"].startswith("What is ")


def test_it_is_written_once(home: Path, stored: Stored) -> None:
    data = stored(10)
    path = materialise(home, data)
    written = path.stat().st_mtime_ns
    assert materialise(home, data) == path
    assert path.stat().st_mtime_ns == written
    assert path.parent == home / "cache" / "arrow"


def test_a_broken_write_leaves_nothing_and_can_be_repeated(
    home: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    data = stored(10)
    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", no_space)
        with pytest.raises(OSError, match="No space"):
            materialise(home, data)
    assert list((home / "cache" / "arrow").iterdir()) == []
    assert len(load(materialise(home, data))) == 10


def test_a_split_without_rows_is_a_file_without_rows(home: Path, stored: Stored) -> None:
    assert load(materialise(home, stored(10, "test", test_fraction=0.0))) == []
