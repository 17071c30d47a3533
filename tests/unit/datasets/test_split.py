from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.datasets.split import assign


def test_the_side_of_a_prompt_never_changes() -> None:
    sides = "".join(assign(f"prompt {n}", 0, 0.5)[1] for n in range(16))
    assert sides == "rrerereeerererrr"


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_the_test_side_has_about_the_fraction(fraction: float) -> None:
    share = sum(assign(f"prompt {n}", 7, fraction) == "test" for n in range(4000)) / 4000
    assert abs(share - fraction) < 0.03


def test_no_fraction_holds_nothing_out() -> None:
    assert {assign(str(n), 0, 0.0) for n in range(100)} == {"train"}


def test_another_seed_draws_other_rows() -> None:
    first = {n for n in range(200) if assign(str(n), 0, 0.5) == "test"}
    second = {n for n in range(200) if assign(str(n), 1, 0.5) == "test"}
    assert first != second


@given(st.text(), st.integers(0, 2**31 - 1), st.floats(0, 0.9), st.floats(0, 0.9))
def test_a_larger_fraction_keeps_what_a_smaller_one_held_out(prompt: str, seed: int, one: float, other: float) -> None:
    if assign(prompt, seed, min(one, other)) == "test":
        assert assign(prompt, seed, max(one, other)) == "test"
