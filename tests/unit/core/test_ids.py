from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

from workbench.core.ids import new_id


def test_an_id_names_its_kind_and_is_a_ulid() -> None:
    assert re.fullmatch(r"ds_[0-9a-hjkmnp-tv-z]{26}", new_id("ds"))


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id("job") for _ in range(10_000)]
    assert made == sorted(made)


def test_ids_of_different_moments_begin_differently() -> None:
    first = new_id("x")
    time.sleep(0.002)
    assert first[:12] < new_id("x")[:12]


def test_ids_made_by_many_threads_are_unique() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: new_id("job"), range(20_000)))
    assert len(set(made)) == len(made)
