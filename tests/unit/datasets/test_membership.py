from __future__ import annotations

from pathlib import Path

from workbench.datasets.membership import cache_key, held_out, select
from workbench.datasets.split import assign

from .conftest import Stored


def test_the_held_out_rows_are_those_the_split_draws(home: Path, stored: Stored) -> None:
    data = stored(300)
    assert list(held_out(home, data)) == [n for n in range(300) if assign(f"What is {n}?", 0, 0.2) == "test"]


def test_the_cache_may_be_lost(home: Path, stored: Stored) -> None:
    data = stored(100)
    before = held_out(home, data)
    (cached,) = (home / "cache" / "splits").iterdir()
    cached.unlink()
    assert held_out(home, data) == before
    assert cached.exists()


def test_the_two_sides_make_the_whole(home: Path, stored: Stored) -> None:
    test = held_out(home, stored(100))
    assert select(test, "train", 100) | select(test, "test", 100) == select(test, "all", 100)
    assert not select(test, "train", 100) & test


def test_each_seed_and_fraction_has_a_cache_of_its_own(stored: Stored) -> None:
    data = stored(3)
    others = [data.model_copy(update=change) for change in ({"split_seed": 1}, {"test_fraction": 0.3})]
    assert len({cache_key(each) for each in [data, *others]}) == 3
