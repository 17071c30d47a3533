"""Is one model better than another on the same rows, or is the difference noise? Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import Invalid
from workbench.evaluation import scoring
from workbench.evaluation.schemas import Comparison, Metric, MetricComparison, RowMetric, Sample, Verdict

SIGNIFICANCE = 0.05
RESAMPLES = 10_000
CHUNK_INDICES = 1 << 20  # drawn at once: 8 MiB
TOO_FEW = "One row shows nothing; hold out more."
NAMES: dict[Metric, str] = {
    "exact_match": "exact match",
    "token_f1": "token F1",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "perplexity": "perplexity",
}

#: One row of numbers a sample and side.
Figures = NDArray[np.float64]


class RowsDiffer(Invalid):
    """The two models were not asked the same rows."""

    code = "evaluation.rows_differ"


def compare(
    tuned: Sequence[Sample],
    base: Sequence[Sample],
    *,
    primary: Metric = "exact_match",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two models row by row; raises RowsDiffer when the samples are not of the same rows."""
    theirs = {sample.row_id: sample for sample in base}
    if len(tuned) != len(base) or {sample.row_id for sample in tuned} != theirs.keys():
        raise RowsDiffer("The two models were not asked the same rows; evaluate both on the same split.")
    base = [theirs[sample.row_id] for sample in tuned]
    pairs = list(zip(tuned, base, strict=True))
    only_tuned = sum(ours.exact_match and not other.exact_match for ours, other in pairs)
    only_base = sum(other.exact_match and not ours.exact_match for ours, other in pairs)
    p_value = mcnemar(only_tuned, only_base)
    metrics = _metrics(tuned, base, p_value, seed, resamples) if len(pairs) > 1 else []
    headline = next((metric for metric in metrics if metric.metric == primary), None)
    return Comparison(
        verdict=headline.verdict if headline is not None else "noise",
        sentence=_sentence(headline, only_tuned, only_base, p_value, len(pairs)) if headline is not None else TOO_FEW,
        p_value=p_value,
        rows=len(pairs),
        only_tuned=only_tuned,
        only_base=only_base,
        primary=primary,
        metrics=metrics,
        resamples=resamples,
        seed=seed,
    )


def mcnemar(first: int, second: int) -> float:
    """Return the p-value of the exact two-sided McNemar test.

    Of n = first + second rows that the models answer differently, min(first, second) or fewer go one way with
    probability sum of C(n, i) / 2^n if neither is better; doubled for two sides (McNemar, 1947).
    """
    trials = first + second
    term, tail = 1, 0
    for successes in range(min(first, second) + 1):
        tail += term
        term = term * (trials - successes) // (successes + 1)
    p_value: float = 2 * tail / 2**trials
    return min(1.0, p_value)


def interval(tuned: Figures, base: Figures, *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % paired bootstrap interval of the difference between two models.

    Both arrays have the shape (rows, 1) for a mean over the rows, or (rows, 2) for a quotient of sums, whose
    difference is taken: summed nll over tokens gives the log-ratio of perplexities. The bounds are percentiles of the
    rows resampled in pairs, widened for few rows as a t interval is (the expanded percentile interval of Hesterberg,
    2015, "What teachers should know about the bootstrap", section 5.3).
    """
    rows = len(tuned)  # at least 2
    random = np.random.default_rng(seed)
    both = np.hstack([tuned, base])
    found = np.empty(resamples)
    step = max(1, CHUNK_INDICES // rows)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.integers(rows, size=(count, rows))
        found[start : start + count] = _difference(np.stack([column[drawn].sum(axis=1) for column in both.T], 1), rows)
    tail = _tail(rows)
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def detectable(found: MetricComparison) -> str:
    """Say how large a difference must be to be told from noise on these rows."""
    if found.detectable == 0:
        return "Both models did the same on every row."
    least = f"{found.detectable_points:.1f}{'% of the perplexity' if found.metric == 'perplexity' else ' points'}"
    return f"These rows cannot tell a difference below about {least} from noise."


def _sentence(found: MetricComparison, only_tuned: int, only_base: int, p_value: float, rows: int) -> str:
    opening = {
        "better": "The tuned model is better than its base",
        "worse": "The tuned model is worse than its base",
        "noise": "The difference may be chance",
    }[found.verdict]
    facts = f"{NAMES[found.metric]} went from {found.base:.3g} to {found.tuned:.3g} over {rows} rows"
    if found.metric == "exact_match":
        facts += f"; {only_tuned} are right only after training and {only_base} only before (p = {p_value:.2g})"
    return f"{opening}: {facts}. {detectable(found)}"


def _metrics(
    tuned: Sequence[Sample], base: Sequence[Sample], p_value: float, seed: int, resamples: int
) -> list[MetricComparison]:
    found = []
    for metric in get_args(RowMetric):
        means = scoring.mean(tuned, metric), scoring.mean(base, metric)
        if means[0] is None or means[1] is None:
            continue
        sides = _column(tuned, metric), _column(base, metric)
        low, high = interval(*sides, seed=seed, resamples=resamples)
        chance = metric == "exact_match" and p_value >= SIGNIFICANCE
        verdict = "noise" if chance else _verdict(low, high)
        found.append(_found(metric, means[0], means[1], (means[0] - means[1], low, high), verdict))
    return [*found, _perplexity(tuned, base, seed, resamples)]


def _perplexity(tuned: Sequence[Sample], base: Sequence[Sample], seed: int, resamples: int) -> MetricComparison:
    ours, theirs = scoring.perplexity(tuned), scoring.perplexity(base)
    low, high = interval(_likelihood(tuned), _likelihood(base), seed=seed, resamples=resamples)
    return _found("perplexity", ours, theirs, (math.log(ours / theirs), low, high), _verdict(-high, -low))


def _found(
    metric: Metric, tuned: float, base: float, difference: tuple[float, float, float], verdict: Verdict
) -> MetricComparison:
    size, low, high = difference
    return MetricComparison(metric=metric, base=base, tuned=tuned, difference=size, low=low, high=high, verdict=verdict)


def _verdict(low: float, high: float) -> Verdict:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "noise"


def _column(samples: Sequence[Sample], metric: RowMetric) -> Figures:
    return np.array([[getattr(sample, metric)] for sample in samples], dtype=np.float64)


def _likelihood(samples: Sequence[Sample]) -> Figures:
    return np.array([[sample.nll, sample.tokens] for sample in samples], dtype=np.float64)


def _difference(sums: Figures, rows: int) -> Figures:
    """Return tuned - base for each resample; `sums` has the shape (resamples, 2) or (resamples, 4)."""
    if sums.shape[1] == 2:
        means: Figures = (sums[:, 0] - sums[:, 1]) / rows
        return means
    quotients: Figures = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
    return quotients


def _tail(rows: int) -> float:
    from scipy.stats import norm, t

    quantile = t.ppf(SIGNIFICANCE / 2, rows - 1) * math.sqrt(rows / (rows - 1))
    return float(norm.cdf(quantile))
