"""Figures from answered rows. Needs no torch, so that a stored result can be recomputed anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.core.errors import WorkbenchError
from workbench.evaluation.schemas import RowMetric, Sample


class NotFinite(WorkbenchError):
    """The model's likelihoods are not finite numbers."""

    code = "evaluation.not_finite"


def is_exact_match(answer: str, expected: str) -> bool:
    """Whether an answer is the expected text; white space at the ends does not count, everything else does."""
    return answer.strip() == expected.strip()


def mean(samples: Sequence[Sample], metric: RowMetric) -> float | None:
    """Return the mean of a metric over the rows; None when a row was not measured. 0 for no samples."""
    values = [getattr(sample, metric) for sample in samples]
    if None in values:
        return None
    return float(sum(values)) / max(len(values), 1)


def exact_match(samples: Sequence[Sample]) -> float:
    """Return the share of exact matches; 0 for no samples."""
    return sum(sample.exact_match for sample in samples) / max(len(samples), 1)


def perplexity(samples: Sequence[Sample]) -> float:
    """Return the perplexity over all rows; raises NotFinite."""
    return perplexity_of([sample.nll for sample in samples], [sample.tokens for sample in samples])


def perplexity_of(nll: Sequence[float], tokens: Sequence[int]) -> float:
    """Return exp(summed nll / completion tokens), so that each token counts the same; raises NotFinite."""
    loss = math.fsum(nll) / max(sum(tokens), 1)
    try:
        value = math.exp(loss)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise NotFinite(
            f"The model's mean negative log-likelihood is {loss:g}, so its weights are broken; train it again."
        )
    return value
