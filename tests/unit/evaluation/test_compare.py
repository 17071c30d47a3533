"""Exact tests by enumeration; the resampling by what it promises: its coverage, its power, and silence about noise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from workbench.evaluation.compare import RowsDiffer, compare, detectable, interval, mcnemar
from workbench.evaluation.schemas import MetricComparison, Sample

ROWS = 100
REPETITIONS = 200
FEW = 1_000  # resamples, so that hundreds of comparisons take seconds


def samples(hits: list[bool], graded: list[float] | None = None, nll: list[float] | None = None) -> list[Sample]:
    return [
        Sample(
            row_id=row,
            prompt="p",
            expected="e",
            answer="a",
            exact_match=hit,
            token_f1=graded[row] if graded is not None else float(hit),
            rouge_l=float(hit),
            chrf=100.0 * hit,
            nll=nll[row] if nll is not None else 1.0,
            tokens=1 + row % 3,
            prompt_tokens=[],
        )
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
    assert found.sentence.startswith(
        "The tuned model is better than its base: exact match went from 0.1 to 1 over 10 rows;"
        " 9 are right only after training and 0 only before (p = 0.0039)."
    )
    assert found.sentence.endswith(" points from noise.")
    assert (found.resamples, found.seed) == (10_000, 0)
    assert [(metric.metric, metric.verdict) for metric in found.metrics] == [
        ("exact_match", "better"),
        ("token_f1", "better"),
        ("rouge_l", "better"),
        ("chrf", "better"),
        ("perplexity", "noise"),
    ]


def test_a_model_that_became_worse() -> None:
    found = compare(samples([False] * 10), samples([True] * 10))
    assert found.verdict == "worse"
    assert "worse" in found.sentence


def test_a_difference_that_may_be_chance() -> None:
    found = compare(samples([True] * 5 + [False] * 20), samples([False] * 25))
    exact = found.metrics[0]
    assert exact.low > 0, "the interval alone would have called it better"
    assert (found.verdict, exact.verdict, found.p_value) == ("noise", "noise", 0.0625)
    assert found.sentence.startswith("The difference may be chance")


def test_the_verdict_is_about_the_metric_that_was_asked_for() -> None:
    graded = [0.5 + row / 100 for row in range(20)]
    better = samples([False] * 20, graded)
    found = compare(better, samples([False] * 20, [value - 0.3 for value in graded]), primary="token_f1")
    assert (found.primary, found.verdict, found.p_value) == ("token_f1", "better", 1.0)
    assert "token F1 went from 0.295 to 0.595 over 20 rows" in found.sentence


def test_a_lower_perplexity_is_better_and_weighs_tokens() -> None:
    nll = [1.0 + row % 3 for row in range(30)]
    halved = [loss * 0.5 for loss in nll]
    found = compare(samples([False] * 30, nll=halved), samples([False] * 30, nll=nll)).metrics[-1]
    assert found.verdict == "better"
    assert found.difference == pytest.approx(-0.5)
    assert found.difference == pytest.approx(math.log(found.tuned / found.base))
    assert found.low <= found.difference <= found.high < 0


def test_one_row_shows_nothing() -> None:
    found = compare(samples([True]), samples([False]))
    assert (found.verdict, found.metrics) == ("noise", [])
    assert "hold out more" in found.sentence


def test_samples_without_graded_figures_are_compared_by_what_they_have() -> None:
    bare = [each.model_copy(update={"token_f1": None, "rouge_l": None, "chrf": None}) for each in samples([True] * 9)]
    assert [metric.metric for metric in compare(bare, bare).metrics] == ["exact_match", "perplexity"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    tuned, base = samples([True, False] * 10), samples([False, False] * 10)
    assert compare(tuned, base[::-1]) == compare(tuned, base)


def test_the_same_seed_gives_the_same_interval() -> None:
    tuned, base = samples([True, False] * 10), samples([False, False, True, True] * 5)
    assert compare(tuned, base, seed=7) == compare(tuned, base, seed=7)
    assert compare(tuned, base, seed=7).metrics[0].low != compare(tuned, base, seed=9).metrics[3].low


def test_models_that_were_asked_different_rows_cannot_be_compared() -> None:
    with pytest.raises(RowsDiffer, match="evaluate both on the same split"):
        compare(samples([True]), samples([True, True]))


def test_what_could_have_been_found_is_said_in_the_metrics_own_unit() -> None:
    def found(metric: str, half: float) -> str:
        values = {"base": 1.0, "tuned": 1.0, "difference": 0.0, "verdict": "noise", "low": -half, "high": half}
        return detectable(MetricComparison.model_validate({"metric": metric, **values}))

    assert "below about 4.0 points" in found("exact_match", 0.04)
    assert "below about 4.0 points" in found("chrf", 4.0)
    assert "below about 4.1% of the perplexity" in found("perplexity", 0.04)


@pytest.fixture(scope="module")
def chances() -> np.ndarray:
    """How often a synthetic model answers each row right: some rows never, some always, most in between."""
    return np.clip(np.random.default_rng(1).normal(0.5, 0.35, ROWS), 0, 1)


def graded(random: np.random.Generator, chances: np.ndarray) -> list[float]:
    return random.beta(0.2 + 4 * chances, 0.2 + 4 * (1 - chances)).tolist()


@pytest.mark.parametrize("primary", ["exact_match", "token_f1"])
def test_a_model_beside_itself_is_noise(chances: np.ndarray, primary: str) -> None:
    """A/A: two decodings of one model, so whatever differs is chance; at most 5 % may be called a difference."""
    random = np.random.default_rng(2026)
    noise = 0
    for repetition in range(REPETITIONS):
        tuned, base = (
            samples((random.random(ROWS) < chances).tolist(), graded(random, chances)) for _ in ("tuned", "base")
        )
        found = compare(tuned, base, primary=primary, seed=repetition, resamples=FEW)  # type: ignore[arg-type]
        noise += found.verdict == "noise"
    assert noise >= 0.95 * REPETITIONS


@pytest.mark.parametrize("rows", [12, 60])
def test_the_interval_covers_the_true_difference_as_often_as_it_says(rows: int) -> None:
    random = np.random.default_rng(rows)
    covered = 0
    for repetition in range(500):
        base = random.normal(0.4, 0.2, (rows, 1))
        tuned = base + random.normal(0.1, 0.25, (rows, 1))
        low, high = interval(tuned, base, seed=repetition, resamples=FEW)
        covered += low <= 0.1 <= high
    assert 0.925 <= covered / 500 <= 0.975


def test_a_true_difference_is_found_with_the_power_that_the_interval_promises() -> None:
    """The expected rate is the normal approximation: P(|difference| > 1.96 standard errors) for the planted gain."""
    random = np.random.default_rng(5)
    gain, spread = 0.07, 0.25
    error = spread / math.sqrt(ROWS)
    promised = float(norm.sf(1.96 - gain / error) + norm.cdf(-1.96 - gain / error))
    found = 0
    for repetition in range(REPETITIONS):
        base = random.normal(0.4, 0.2, ROWS)
        tuned = base + random.normal(gain, spread, ROWS)
        pair = (samples([False] * ROWS, values.tolist()) for values in (tuned, base))
        verdict = compare(*pair, primary="token_f1", seed=repetition, resamples=FEW).verdict
        assert verdict != "worse"
        found += verdict == "better"
    scatter = 3 * math.sqrt(promised * (1 - promised) / REPETITIONS)
    assert 0.7 < promised < 0.9
    assert found / REPETITIONS == pytest.approx(promised, abs=scatter)
