"""What publishing a run sets going, on both databases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from workbench.core.context import Context
from workbench.datasets import service as datasets
from workbench.datasets.schemas import DatasetUpload, SplitRef
from workbench.evaluation.schemas import EvaluationJob
from workbench.jobs import service as jobs
from workbench.jobs.schemas import Job, JobsQuery
from workbench.kinds import KINDS
from workbench.testing import make_model, write_demo_dataset
from workbench.training import service as training
from workbench.training.schemas import TrainingSpec

RESULT = {"base_weights_sha256": "b" * 64, "weights_sha256": "w" * 64, "model_path": "models/tuned"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "tiny", hidden_size=32)


def trained(context: Context, base: Path, *, test_fraction: float = 0.2, split: str = "train", **spec: Any) -> Job:
    """Queue a run as a researcher does, and publish what it would have made."""
    rows = write_demo_dataset(context.settings.home / "rows.jsonl")
    upload = DatasetUpload(filename="rows.jsonl", test_fraction=test_fraction)
    version = datasets.create(context, rows, upload).head
    ref = SplitRef.model_validate({"version_id": version.id, "split": split})
    job = training.submit(context, TrainingSpec(base=str(base), data=ref, **spec))
    context.session.flush()
    shutil.copytree(base, context.settings.home / str(RESULT["model_path"]))
    outcome = KINDS["train"].publish(context, job, "att_1", RESULT)
    return job.model_copy(update={"outcome": outcome})


def evaluations(context: Context) -> list[Job]:
    return jobs.listing(context, JobsQuery(kind="evaluate")).items


def test_a_run_is_compared_with_its_base_by_itself(context: Context, base: Path) -> None:
    run = trained(context, base)
    (queued,) = evaluations(context)
    assert run.outcome is not None
    assert run.outcome["evaluation_job_id"] == queued.id
    assert queued.owner_name == run.owner_name
    told = EvaluationJob.model_validate(queued.spec)
    assert [(model.role, model.version_id) for model in told.models] == [
        ("base", run.outcome["base_version_id"]),
        ("tuned", run.outcome["model_version_id"]),
    ]
    assert (told.data.version_id, told.data.split) == (run.spec["data"]["version_id"], "test")


@pytest.mark.parametrize("changes", [{"evaluate": False}, {"test_fraction": 0.0}, {"split": "all"}])
def test_nothing_is_compared_that_was_not_held_out_or_not_wanted(
    context: Context, base: Path, changes: dict[str, Any]
) -> None:
    run = trained(context, base, **changes)
    assert evaluations(context) == []
    assert run.outcome is not None
    assert "model_version_id" in run.outcome
    assert "evaluation_job_id" not in run.outcome
