"""Job kinds: which worker runs each, and which finisher publishes its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from workbench.core.context import Context
from workbench.core.settings import Settings
from workbench.datasets import service as datasets
from workbench.datasets.schemas import SplitRef
from workbench.evaluation import service as evaluation
from workbench.evaluation.schemas import EvaluationSpec
from workbench.jobs import notebooks
from workbench.jobs.executor import GRACE
from workbench.jobs.runner import Kind
from workbench.jobs.schemas import Job
from workbench.maintenance import service as maintenance
from workbench.serving import service as serving
from workbench.training import service as training
from workbench.training.schemas import TrainingJob


def _train(spec: dict[str, Any], folder: Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    shape = [f"--nproc_per_node={spec['training']['processes']}", f"--shutdown-timeout={int(GRACE)}"]
    return [*launcher, *shape, "-m", "workbench.training.run", str(folder)]


def _evaluate(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench.evaluation.run", str(folder)]


def _notebook(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench.jobs.run", str(folder)]


def _serve(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench.serving.run", str(folder)]


def _maintain(work: str) -> Callable[[dict[str, Any], Path], list[str]]:
    return lambda spec, folder: [sys.executable, "-m", "workbench.maintenance.run", work, str(folder)]


def _backup_interval(settings: Settings) -> timedelta | None:
    return timedelta(hours=settings.backup_hours) if settings.backup_hours else None


def _publish_run(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Register the run's model, and queue its comparison with the base when that was wanted and rows are held out."""
    outcome = training.publish(context, job, attempt_id, result)
    made = TrainingJob.model_validate(job.spec)
    if not made.training.evaluate or made.data.split != "train" or made.data.mapping.format == "text":
        return outcome
    if datasets.version(context, made.data.version_id).test_rows == 0:
        return outcome
    spec = EvaluationSpec(
        baseline=outcome["base_version_id"], data=SplitRef(version_id=made.data.version_id, split="test")
    )
    return outcome | {"evaluation_job_id": evaluation.submit(context, outcome["model_version_id"], spec).id}


KINDS = {
    "train": Kind(argv=_train, publish=_publish_run),
    "evaluate": Kind(argv=_evaluate, publish=evaluation.publish),
    notebooks.KIND: Kind(argv=_notebook, publish=notebooks.publish),
    serving.KIND: Kind(argv=_serve, publish=serving.publish),
    maintenance.BACKUP: Kind(
        argv=_maintain(maintenance.BACKUP),
        publish=maintenance.publish_backup,
        reads_database=True,
        every=_backup_interval,
        title=maintenance.TITLES[maintenance.BACKUP],
    ),
    maintenance.DRILL: Kind(argv=_maintain(maintenance.DRILL), publish=maintenance.publish_drill, reads_database=True),
}
