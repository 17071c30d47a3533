"""The metrics, as `evaluate.Metric`s: made directly, computed in memory, nothing fetched. Only workers import it.

Each `compute` returns the figure over all rows under the metric's name; the text metrics also each row's, as `per_row`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evaluate
import regex
from datasets import Features, Value
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_chrf

from workbench.evaluation.schemas import Sample
from workbench.evaluation.scoring import is_exact_match, perplexity_of

CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
TOKEN = regex.compile(rf"[{CJK}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{CJK}]]+", regex.VERSION1)


def words(text: str) -> list[str]:
    """Split a text into lower-case Unicode words; each Chinese or Japanese character is one; punctuation is dropped."""
    found: list[str] = TOKEN.findall(text.lower())
    return found


def token_f1(answer: str, expected: str) -> float:
    """Return the F1 of two bags of `words`.

    With c the size of the bags' intersection, precision = c / |answer|, recall = c / |expected| and
    F1 = 2 · precision · recall / (precision + recall) = 2c / (|answer| + |expected|) (Rajpurkar et al., 2016, without
    its removal of articles). Two empty bags score 1, one empty bag 0.
    """
    given, wanted = Counter(words(answer)), Counter(words(expected))
    size = given.total() + wanted.total()
    return 2 * (given & wanted).total() / size if size else 1.0


class _Words:
    def tokenize(self, text: str) -> list[str]:
        """Split as `words` does, because rouge_score's own tokenizer drops all but ASCII."""
        return words(text)


class TextMetric(evaluate.Metric):  # type: ignore[misc]
    """Compares each answer with its expected text; the figure is the mean over the rows."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=(type(self).__doc__ or "").splitlines()[0],
            citation="",
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def score(self, answer: str, expected: str) -> float:
        """Return the figure of one row."""
        raise NotImplementedError

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        per_row = [self.score(*pair) for pair in zip(predictions, references, strict=True)]
        return {self.name: sum(per_row) / len(per_row), "per_row": per_row}


class ExactMatch(TextMetric):
    """Whether the answer is the expected text, apart from white space at its ends: 0 or 1."""

    def score(self, answer: str, expected: str) -> float:
        """Return 1 for a match."""
        return float(is_exact_match(answer, expected))


class TokenF1(TextMetric):
    """F1 of the bags of words of answer and expected text: 0 to 1."""

    def score(self, answer: str, expected: str) -> float:
        """Return `token_f1`."""
        return token_f1(answer, expected)


class RougeL(TextMetric):
    """F1 of the longest common subsequence of words (Lin, 2004), by rouge_score: 0 to 1. Two empty texts score 0."""

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())

    def score(self, answer: str, expected: str) -> float:
        """Return the F-measure."""
        return float(self.scorer.score(expected, answer)["rougeL"].fmeasure)


class ChrF(TextMetric):
    """chrF2: F-score of character n-grams (Popović, 2015), by sacrebleu: 0 to 100. Good for Chinese, too."""

    def score(self, answer: str, expected: str) -> float:
        """Return the sentence's score."""
        return float(sentence_chrf(answer, [expected]).score)

    @property
    def name(self) -> str:
        """The metric's name."""
        return "chrf"


class Perplexity(evaluate.Metric):  # type: ignore[misc]
    """exp(summed nll / tokens) of the expected completions, so that each token counts the same."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=(type(self).__doc__ or "").splitlines()[0],
            citation="",
            features=Features({"nll": Value("float64"), "tokens": Value("int64")}),
        )

    def _compute(self, nll: Sequence[float], tokens: Sequence[int]) -> dict[str, Any]:
        return {self.name: perplexity_of(nll, tokens)}


TEXT_METRICS = (ExactMatch, TokenF1, RougeL, ChrF)


def measure(samples: Sequence[Sample], folder: Path) -> tuple[list[Sample], dict[str, float]]:
    """Return the samples with every row's figures, and the figures over all of them; raises `NotFinite`.

    `folder` is where the metrics may keep files.
    """
    told = {"keep_in_memory": True, "cache_dir": str(folder)}
    texts = {
        "predictions": [sample.answer for sample in samples],
        "references": [sample.expected for sample in samples],
    }
    found = {metric.name: metric.compute(**texts) for metric in (kind(**told) for kind in TEXT_METRICS)}
    likelihood = {"nll": [sample.nll for sample in samples], "tokens": [sample.tokens for sample in samples]}
    totals = {name: float(figures[name]) for name, figures in found.items()}
    totals["perplexity"] = float(Perplexity(**told).compute(**likelihood)["perplexity"])
    graded = [name for name in found if name != "exact_match"]
    return [
        sample.model_copy(update={name: found[name]["per_row"][row] for name in graded})
        for row, sample in enumerate(samples)
    ], totals
