"""Evaluations as a researcher holds them in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import Conflict
from workbench.evaluation import routes
from workbench.evaluation.schemas import Comparison, ModelScore, SampleRow, SamplesQuery
from workbench.evaluation.schemas import Evaluation as Record
from workbench.jobs.client import JobHandle

if TYPE_CHECKING:
    from workbench.evaluation.panel import ComparisonPanel


class NotEvaluatedYet(Conflict):
    """The evaluation has no scores yet."""

    code = "evaluation.unfinished"


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

    def samples(self, limit: int = 50, offset: int = 0) -> list[SampleRow]:
        """Return rows with every model's answer side by side."""
        query = SamplesQuery(limit=limit, offset=offset)
        return self.http.call(routes.samples, evaluation_id=self.record.id, query=query).items

    def show(self) -> ComparisonPanel:
        """Show the comparison: scores, verdict, answers side by side."""
        from workbench.evaluation.panel import ComparisonPanel

        return ComparisonPanel(self)
