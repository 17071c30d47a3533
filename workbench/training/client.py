"""Training runs as a researcher holds them in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import Conflict
from workbench.jobs.client import JobHandle
from workbench.registry.client import Models, ModelVersion

if TYPE_CHECKING:
    from workbench.training.panel import RunPanel


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
