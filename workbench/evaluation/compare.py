"""Is one model better than another on the same rows, or is the difference noise? Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.core.errors import Invalid
from workbench.evaluation.schemas import Comparison, Sample, Verdict

SIGNIFICANCE = 0.05


class RowsDiffer(Invalid):
    """The two models were not asked the same rows."""

    code = "evaluation.rows_differ"


def compare(tuned: Sequence[Sample], base: Sequence[Sample]) -> Comparison:
    """Compare paired exact matches; raises RowsDiffer when the samples are not of the same rows."""
    ours, theirs = _matches(tuned), _matches(base)
    if ours.keys() != theirs.keys():
        raise RowsDiffer("The two models were not asked the same rows; evaluate both on the same split.")
    only_tuned = sum(ours[row] and not theirs[row] for row in ours)
    only_base = sum(theirs[row] and not ours[row] for row in ours)
    p_value = mcnemar(only_tuned, only_base)
    verdict = _verdict(only_tuned, only_base, p_value)
    return Comparison(
        verdict=verdict,
        sentence=_sentence(verdict, only_tuned, only_base, len(ours), p_value),
        p_value=p_value,
        rows=len(ours),
        only_tuned=only_tuned,
        only_base=only_base,
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


def _matches(samples: Sequence[Sample]) -> Mapping[int, bool]:
    return {sample.row_id: sample.exact_match for sample in samples}


def _verdict(only_tuned: int, only_base: int, p_value: float) -> Verdict:
    if p_value >= SIGNIFICANCE:
        return "noise"
    return "better" if only_tuned > only_base else "worse"


def _sentence(verdict: Verdict, only_tuned: int, only_base: int, rows: int, p_value: float) -> str:
    facts = (
        f"of {rows} rows, {only_tuned} are right only after training and {only_base} only before (p = {p_value:.2g})"
    )
    if verdict == "noise":
        return f"The difference may be chance: {facts}."
    return f"The tuned model is {verdict} than its base: {facts}."
