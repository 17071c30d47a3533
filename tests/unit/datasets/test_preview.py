from __future__ import annotations

from pathlib import Path

import pytest

from workbench.datasets.preview import page
from workbench.datasets.schemas import Split
from workbench.datasets.split import assign

from .conftest import Stored


def test_pages_over_several_segments_join_to_all_rows(home: Path, stored: Stored) -> None:
    data = stored(50)
    pages = [page(home, data, offset, 8) for offset in range(0, 56, 8)]
    assert [row.row_id for found in pages for row in found.items] == list(range(50))
    assert {found.total for found in pages} == {50}
    assert pages[3].items[0].prompt == "What is 24?"
    assert pages[3].items[0].completion == "It is 24."


@pytest.mark.parametrize("split", ["train", "test"])
def test_pages_of_one_side_hold_that_side_alone(home: Path, stored: Stored, split: Split) -> None:
    data = stored(200, split)
    expected = [n for n in range(200) if assign(f"What is {n}?", 0, 0.2) == split]
    found = [row for offset in range(0, 200, 9) for row in page(home, data, offset, 9).items]
    assert [row.row_id for row in found] == expected
    assert {row.split for row in found} == {split}
    assert page(home, data, 0, 1).total == len(expected)


def test_a_page_beyond_the_end_is_empty(home: Path, stored: Stored) -> None:
    found = page(home, stored(5), 5, 10)
    assert (found.items, found.total) == ([], 5)
