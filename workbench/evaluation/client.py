"""Evaluations as a researcher holds them in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from workbench.core.errors import Conflict, Invalid
from workbench.core.routes import Download
from workbench.evaluation import routes
from workbench.evaluation.schemas import (
    Comparison,
    ModelScore,
    ReportQuery,
    RowFilter,
    SampleRow,
    SamplesPage,
    SamplesQuery,
    Sort,
)
from workbench.evaluation.schemas import Evaluation as Record
from workbench.jobs.client import JobHandle

if TYPE_CHECKING:
    from workbench.evaluation.panel import ComparisonPanel


class NotEvaluatedYet(Conflict):
    """The evaluation has no scores yet."""

    code = "evaluation.unfinished"


class UnknownForm(Invalid):
    """A report is HTML, CSV or JSON."""

    code = "evaluation.unknown_form"


@dataclass(frozen=True, repr=False)
class Evaluation(JobHandle):
    """A handle on one evaluation, which is a job with scores."""

    @property
    def record(self) -> Record:
        """Scores and comparison; raises `NotEvaluatedYet` before the job has succeeded."""
        job = self.job()
        if job.outcome is None:
            raise NotEvaluatedYet(f"The evaluation {self.id} is {job.state}; its scores appear when it has succeeded.")
        return self.http.call(routes.show, evaluation_id=str(job.outcome["evaluation_id"]))

    @property
    def results(self) -> list[ModelScore]:
        """The models' scores: the baseline first, when there is one."""
        return self.record.scores

    @property
    def verdict(self) -> Comparison | None:
        """Whether the model differs from its baseline; None without one."""
        return self.record.comparison

    def samples(
        self,
        limit: int = 50,
        offset: int = 0,
        *,
        filter: RowFilter = "all",  # noqa: A002 - the route's name
        search: str = "",
        sort: Sort = "row",
    ) -> list[SampleRow]:
        """Return rows with every model's answer side by side.

        `filter` takes rows by what became of them (gained, lost, both, neither), `search` those that hold a text, and
        `sort` orders them by the change (gain, loss).
        """
        return self.page(SamplesQuery(limit=limit, offset=offset, filter=filter, search=search, sort=sort)).items

    def page(self, query: SamplesQuery) -> SamplesPage:
        """Return one page of rows, and how many rows there are by filter."""
        return self.http.call(routes.samples, evaluation_id=self.record.id, query=query)

    def report(self, path: str | Path = "comparison.html") -> Path:
        """Write everything that is known of the evaluation into a file whose ending (.html, .csv or .json) says how."""
        target = Path(path)
        target.write_bytes(self.download(target.suffix.removeprefix(".").lower()).content)
        return target

    def download(self, form: str) -> Download:
        """Fetch the report as html, csv or json."""
        try:
            query = ReportQuery.model_validate({"format": form})
        except ValidationError as error:
            raise UnknownForm(f"A report ends with .html, .csv or .json, not with “.{form[:20]}”.") from error
        return self.http.download(routes.report, evaluation_id=self.record.id, query=query)

    def show(self) -> ComparisonPanel:
        """Show the comparison: scores, verdict, answers side by side."""
        from workbench.evaluation.panel import ComparisonPanel

        return ComparisonPanel(self)
