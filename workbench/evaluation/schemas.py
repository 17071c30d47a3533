"""What an evaluation is told and what it finds out, down to the single answer."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.core.schemas import Schema, Time
from workbench.datasets.schemas import DataRef, SplitRef

Role = Literal["tuned", "base"]
Verdict = Literal["better", "worse", "noise"]
#: What each row has a figure for, and what is compared over all rows.
RowMetric = Literal["exact_match", "token_f1", "rouge_l", "chrf"]
Metric = Literal["exact_match", "token_f1", "rouge_l", "chrf", "perplexity"]
#: Which rows to show: all, or by what became of the exact match.
RowFilter = Literal["all", "gained", "lost", "both", "neither"]
Sort = Literal["row", "gain", "loss"]
Count = Annotated[int, Field(strict=True, ge=1)]


class EvaluationSpec(Schema):
    """An evaluation as a researcher asks for it; the path names the model version to judge."""

    baseline: str | None = Field(
        None, min_length=1, description="The version to compare it with; none compares nothing."
    )
    data: SplitRef = Field(description="The rows to answer: one side of a dataset version, usually the held-out one.")
    max_new_tokens: Annotated[Count, Field(le=32_768)] = Field(64, description="Longest answer in tokens.")
    batch_size: Annotated[Count, Field(le=4096)] = Field(
        16, description="Rows answered at once; no influence on the result."
    )
    limit: Count | None = Field(None, description="Answer only this many rows, drawn by the seed.")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = Field(
        0, description="Seed of the rows drawn by limit, and of the resampling."
    )
    primary: Metric = Field("exact_match", description="The metric that decides the verdict.")


class EvaluatedModel(Schema):
    """One model of an evaluation."""

    version_id: str
    #: Folder relative to the home, or absolute.
    path: str
    role: Role


class EvaluationJob(Schema):
    """All that an evaluation worker needs, without the database."""

    models: list[EvaluatedModel] = Field(min_length=1, max_length=2)
    data: DataRef
    max_new_tokens: int
    batch_size: int
    limit: int | None = None
    seed: int = 0
    primary: Metric = "exact_match"


class Sample(Schema):
    """One answered row, as it stands in the samples file."""

    row_id: int
    prompt: str
    expected: str
    answer: str
    exact_match: bool
    #: 0 to 1, 0 to 1 and 0 to 100; None in a sample that was not measured by it.
    token_f1: float | None = None
    rouge_l: float | None = None
    chrf: float | None = None
    #: Summed negative log-likelihood of the expected completion, in nats, over `tokens` tokens.
    nll: float
    tokens: int
    #: The prompt as the model saw it.
    prompt_tokens: list[int]


class TemplateRecord(Schema):
    """Which template made the prompts."""

    source: Literal["chat_template.jinja", "tokenizer_config.json", "plain"]
    sha256: str
    tokenizer_sha256: str


class ModelScore(Schema):
    """What one model reached."""

    version_id: str
    role: Role
    rows: int
    #: Share of rows whose answer is the expected text, apart from white space at its ends.
    exact_match: float
    #: Means over the rows; None when they were not measured.
    token_f1: float | None = None
    rouge_l: float | None = None
    chrf: float | None = None
    #: exp(summed nll / completion tokens) under the model's own template.
    perplexity: float
    tokens: int
    seconds: float
    weights_sha256: str
    template: TemplateRecord
    #: Relative to the home.
    samples_path: str
    samples_sha256: str


class MetricComparison(Schema):
    """One metric of two models on the same rows, with a 95 % interval of the difference."""

    metric: Metric
    base: float
    tuned: float
    #: tuned - base; for perplexity log(tuned / base), so that exp gives the factor. The bounds alike.
    difference: float
    low: float
    high: float
    #: Whether the interval excludes 0, and to which side; a lower perplexity is better.
    verdict: Verdict

    @property
    def detectable(self) -> float:
        """Half the interval's width: a smaller difference would not have been told from noise."""
        return (self.high - self.low) / 2

    @property
    def detectable_points(self) -> float:
        """The same in points of 100, for perplexity in percent."""
        if self.metric == "perplexity":
            return 100 * math.expm1(self.detectable)
        return self.detectable if self.metric == "chrf" else 100 * self.detectable


class Comparison(Schema):
    """Whether the difference between two models on the same rows is more than chance."""

    verdict: Verdict
    #: One sentence for people.
    sentence: str
    #: Exact two-sided McNemar test of the exact matches.
    p_value: float
    rows: int
    #: Rows that only the tuned model, and that only the base, answered right.
    only_tuned: int
    only_base: int
    #: The metric that the verdict is about.
    primary: Metric = "exact_match"
    metrics: list[MetricComparison] = Field(default_factory=list)
    #: Draws of the paired bootstrap behind the intervals, and their seed.
    resamples: int = 0
    seed: int = 0

    @property
    def headline(self) -> MetricComparison | None:
        """The comparison by the primary metric; None for a single row."""
        return next((each for each in self.metrics if each.metric == self.primary), None)


class EvaluationResult(Schema):
    """The content of an evaluation's result.json."""

    results: list[ModelScore]
    comparison: Comparison | None
    #: Python, platform, packages, device.
    environment: dict[str, Any]


class Evaluation(Schema):
    """A finished evaluation."""

    id: str
    job_id: str
    #: Name and number, such as "support v2".
    model: str
    baseline: str | None
    dataset: str
    data: SplitRef
    #: The resolved settings (max_new_tokens, batch_size, limit, seed, primary), and the worker's environment.
    settings: dict[str, Any]
    scores: list[ModelScore]
    comparison: Comparison | None
    created_at: Time


class SamplesQuery(Schema):
    """Which rows to show, and in which order."""

    offset: int = Field(0, ge=0, le=2**63 - 1)
    limit: int = Field(50, ge=1, le=200)
    filter: RowFilter = "all"
    search: str = Field("", max_length=200, description="Text in a prompt, an expected text or an answer.")
    sort: Sort = Field("row", description="Dataset order, or by the change in the primary metric, then in chrF.")


class ReportQuery(Schema):
    """In which form to download a report."""

    format: Literal["html", "csv", "json"] = "html"


class Answer(Schema):
    """One model's side of a row."""

    role: Role
    version_id: str
    answer: str
    exact_match: bool
    token_f1: float | None = None
    rouge_l: float | None = None
    chrf: float | None = None
    nll: float
    tokens: int


class SampleRow(Schema):
    """One row with every model's answer."""

    row_id: int
    prompt: str
    expected: str
    answers: list[Answer]


class SamplesPage(Schema):
    """Rows from `offset` on; `total` counts those that filter and search let through."""

    items: list[SampleRow]
    offset: int
    total: int
    #: Rows that the search lets through, by filter.
    counts: dict[RowFilter, int]
