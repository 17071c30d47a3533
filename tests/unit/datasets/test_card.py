from __future__ import annotations

import re

from workbench.datasets.card import rows_table, shorten
from workbench.datasets.schemas import Row


def test_long_texts_are_cut() -> None:
    row = Row(row_id=1, prompt="p" * 10_000, completion="c", messages=[], split="train")
    assert len(rows_table([row])) < 3_000
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"


def test_colours_follow_the_theme_and_work_without_one() -> None:
    html = rows_table([Row(row_id=1, prompt="p", completion="c", messages=[], split="test")])
    colours = re.findall(r"var\((--[\w-]+),(#\w+)\)", html)
    assert colours
    assert all(name.startswith("--jp-") for name, _ in colours)
