"""Reads stored samples back, beside each other: filtered, searched, sorted. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from workbench.evaluation.schemas import (
    Answer,
    Metric,
    ModelScore,
    RowFilter,
    Sample,
    SampleRow,
    SamplesPage,
    SamplesQuery,
)

#: What became of a row, by whether the base and whether the tuned model answered it right.
CHANGES: dict[tuple[bool, bool], RowFilter] = {
    (False, True): "gained",
    (True, False): "lost",
    (True, True): "both",
    (False, False): "neither",
}


def read(home: Path, scores: Sequence[ModelScore]) -> Iterator[SampleRow]:
    """Yield every row with every model's answer, in the dataset's order."""
    files = [_samples(home / score.samples_path) for score in scores]
    for side_by_side in zip(*files, strict=True):
        yield _row(scores, side_by_side)


def page(rows: Iterator[SampleRow], query: SamplesQuery, primary: Metric) -> SamplesPage:
    """Return one page of the rows that filter and search let through."""
    wanted = query.search.casefold()
    found = [row for row in rows if not wanted or _holds(row, wanted)]
    counts: Counter[RowFilter] = Counter(change(row) for row in found)
    shown = [row for row in found if query.filter in ("all", change(row))]
    if query.sort != "row":
        shown.sort(key=lambda row: gain(row, primary), reverse=query.sort == "gain")
    return SamplesPage(
        items=shown[query.offset : query.offset + query.limit],
        offset=query.offset,
        total=len(shown),
        counts={each: counts[each] for each in get_args(RowFilter)} | {"all": len(found)},
    )


def change(row: SampleRow) -> RowFilter:
    """Say what became of a row; a model without a baseline has gained what it answers right."""
    right = {answer.role: answer.exact_match for answer in row.answers}
    return CHANGES[right.get("base", False), right.get("tuned", False)]


def gain(row: SampleRow, primary: Metric) -> tuple[float, float]:
    """Return how much better the tuned model did, by the primary metric and then by chrF; 0 without a baseline."""
    sides = {answer.role: answer for answer in row.answers}
    if sides.keys() != {"base", "tuned"}:
        return 0.0, 0.0
    tuned, base = sides["tuned"], sides["base"]
    return figure(tuned, primary) - figure(base, primary), figure(tuned, "chrf") - figure(base, "chrf")


def figure(answer: Answer, metric: Metric) -> float:
    """Return a row's figure, where more is better: for perplexity the mean log-likelihood of a token."""
    if metric == "perplexity":
        return -answer.nll / answer.tokens
    return float(getattr(answer, metric) or 0.0)


def _holds(row: SampleRow, wanted: str) -> bool:
    texts = (row.prompt, row.expected, *(answer.answer for answer in row.answers))
    return any(wanted in text.casefold() for text in texts)


def _row(scores: Sequence[ModelScore], side_by_side: tuple[Sample, ...]) -> SampleRow:
    first = side_by_side[0]
    own = Answer.model_fields.keys() - {"role", "version_id"}
    answers = [
        Answer(role=score.role, version_id=score.version_id, **sample.model_dump(include=own))
        for score, sample in zip(scores, side_by_side, strict=True)
    ]
    return SampleRow(row_id=first.row_id, prompt=first.prompt, expected=first.expected, answers=answers)


def _samples(path: Path) -> Iterator[Sample]:
    with path.open("rb") as file:
        for line in file:
            yield Sample.model_validate_json(line)
