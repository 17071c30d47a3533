import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evaluation.compare import RowsDiffer, compare, mcnemar
from workbench.evaluation.schemas import Sample


def samples(hits: list[bool]) -> list[Sample]:
    return [
        Sample(row_id=row, prompt="p", expected="e", answer="a", exact_match=hit, nll=1, tokens=1, prompt_tokens=[])
        for row, hit in enumerate(hits)
    ]


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (6, 0, 0.03125),
        (10, 2, 0.03857421875),
        (5, 5, 1.0),
        (121, 59, 4.434e-06),
    ],
)
def test_the_exact_mcnemar_test(first: int, second: int, p_value: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p_value, rel=1e-3)
    assert mcnemar(second, first) == mcnemar(first, second)


@given(st.integers(0, 60), st.integers(0, 60))
def test_it_is_twice_the_binomial_tail(first: int, second: int) -> None:
    n, k = first + second, min(first, second)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_thousands_of_rows_are_no_trouble() -> None:
    assert 0 < mcnemar(2_100, 1_900) < 0.01


def test_a_model_that_became_better() -> None:
    found = compare(samples([True] * 10), samples([False] * 9 + [True]))
    assert (found.verdict, found.only_tuned, found.only_base, found.rows) == ("better", 9, 0, 10)
    assert found.sentence.startswith("The tuned model is better than its base: of 10 rows, 9 are right only after")


def test_a_model_that_became_worse() -> None:
    found = compare(samples([False] * 10), samples([True] * 10))
    assert found.verdict == "worse"
    assert "worse" in found.sentence


def test_a_difference_that_may_be_chance() -> None:
    found = compare(samples([True] * 5 + [False] * 20), samples([False] * 25))
    assert (found.verdict, found.p_value) == ("noise", 0.0625)
    assert found.sentence.startswith("The difference may be chance")


def test_models_that_were_asked_different_rows_cannot_be_compared() -> None:
    with pytest.raises(RowsDiffer, match="evaluate both on the same split"):
        compare(samples([True]), samples([True, True]))
