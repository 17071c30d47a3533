"""Training runs as a researcher holds them in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import Conflict
from workbench.core.http import HTTP
from workbench.datasets.schemas import Row, RowsPage
from workbench.jobs.client import JobHandle
from workbench.registry.client import Models, ModelVersion
from workbench.training import routes
from workbench.training.schemas import TrainedRowsQuery

if TYPE_CHECKING:
    from workbench.training.panel import RunPanel

PAGE = 200


class NoModelYet(Conflict):
    """The run has not made a model yet."""

    code = "run.no_model"


@dataclass(frozen=True, repr=False)
class Run(JobHandle):
    """A handle on one fine-tuning run."""

    @property
    def model(self) -> ModelVersion:
        """The model version that the run made; raises `NoModelYet` before it has succeeded."""
        job = self.job()
        if job.outcome is None:
            raise NoModelYet(f"The run {self.id} is {job.state}; its model appears when it has succeeded.")
        return Models(self.http).version(str(job.outcome["model_version_id"]))

    @property
    def base(self) -> ModelVersion:
        """The model version that the run began from."""
        return Models(self.http).version(str(self.job().spec["base"]["version_id"]))

    def watch(self) -> RunPanel:
        """Show the run live: chart, progress, log; survives a reload of the page."""
        from workbench.training.panel import RunPanel

        return RunPanel(self)


@dataclass(frozen=True)
class TrainedRows:
    """The rows that trained a model version, in their order."""

    http: HTTP
    version_id: str

    def page(self, offset: int = 0, limit: int = 50) -> RowsPage:
        """Return up to `limit` (at most 200) rows from `offset` on."""
        query = TrainedRowsQuery(offset=offset, limit=limit)
        return self.http.call(routes.rows, query=query, version_id=self.version_id)

    def __len__(self) -> int:
        return self.page(limit=1).total

    def __iter__(self) -> Iterator[Row]:
        for offset in range(0, len(self), PAGE):
            yield from self.page(offset, PAGE).items
