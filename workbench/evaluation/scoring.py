"""Figures from answered rows. Needs no torch, so that a stored result can be recomputed anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.core.errors import WorkbenchError
from workbench.evaluation.schemas import Sample


class NotFinite(WorkbenchError):
    """The model's likelihoods are not finite numbers."""

    code = "evaluation.not_finite"


def is_exact_match(answer: str, expected: str) -> bool:
    """Whether an answer is the expected text; white space at the ends does not count, everything else does."""
    return answer.strip() == expected.strip()


def exact_match(samples: Sequence[Sample]) -> float:
    """Return the share of exact matches; 0 for no samples."""
    return sum(sample.exact_match for sample in samples) / max(len(samples), 1)


def perplexity(samples: Sequence[Sample]) -> float:
    """Return exp(summed nll / completion tokens), so that each token counts the same; raises NotFinite."""
    tokens = sum(sample.tokens for sample in samples)
    mean = math.fsum(sample.nll for sample in samples) / max(tokens, 1)
    try:
        value = math.exp(mean)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise NotFinite(
            f"The model's mean negative log-likelihood is {mean:g}, so its weights are broken; train it again."
        )
    return value
