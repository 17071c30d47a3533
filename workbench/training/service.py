"""Accepts training runs and publishes what they made. Never commits."""

from __future__ import annotations

from typing import Any

from workbench.core.context import Context
from workbench.core.lineage import link
from workbench.core.schemas import Ref
from workbench.datasets import service as datasets
from workbench.datasets.materialise import materialise
from workbench.datasets.schemas import SplitRef
from workbench.jobs import service as jobs
from workbench.jobs.agent import capacity
from workbench.jobs.schemas import Job
from workbench.registry import service as registry
from workbench.registry.facts import read_facts
from workbench.training import precheck
from workbench.training import preview as previews
from workbench.training.schemas import BaseModelRef, Preview, PreviewQuery, TrainingJob, TrainingSpec


def check(context: Context, spec: TrainingSpec) -> None:
    """Refuse a spec whose base model cannot be used, or whose rows keep no trained token. Changes nothing."""
    model = registry.folder(context, spec.base)
    rows = materialise(context.settings.home, datasets.resolve(context, spec.data))
    precheck.check(precheck.Question(model=model, rows=rows, max_length=spec.max_length))


def preview(context: Context, query: PreviewQuery) -> Preview:
    """Return rows as the base model would see them. Changes nothing."""
    data = datasets.resolve(context, SplitRef(version_id=query.version_id, split=query.split))
    rows = materialise(context.settings.home, data)
    window = query.model_dump(include={"offset", "limit", "max_length"})
    question = previews.Question(model=registry.folder(context, query.base), rows=rows, **window)
    version = datasets.find_version(context.session, data.version_id)
    total = {"train": version.train_rows, "test": version.test_rows, "all": version.rows}[data.split]
    return previews.preview(question, total)


def submit(context: Context, spec: TrainingSpec) -> Job:
    """Queue a run whose spec was checked."""
    base = registry.resolve(context, spec.base)
    data = datasets.resolve(context, spec.data)
    resolved = spec.resolved().model_copy(update={"base": base.id})
    job = TrainingJob(training=resolved, base=BaseModelRef(version_id=base.id, path=base.path), data=data)
    name = datasets.find(context.session, data.dataset_id).name
    gpus = spec.processes if capacity(context.settings)[1] else 0
    cpus = spec.processes * spec.cpu_threads
    title = f"Fine-tune {base.model_name} on {name}"
    return jobs.submit(context, "train", title, job.model_dump(mode="json"), cpus=cpus, gpus=gpus)


def publish(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Register the model that a run made, with its lineage."""
    made = TrainingJob.model_validate(job.spec)
    session = context.session
    base = registry.version(session, made.base.version_id)
    dataset = datasets.find(session, made.data.dataset_id)
    registry.note_weights(session, base.id, result["base_weights_sha256"])
    record = {"training": made.training.model_dump(mode="json"), **result}
    version = registry.publish(
        session,
        name=f"{base.model_name}-{dataset.name}"[:200],
        author=(context.user.id, context.user.name),
        path=result["model_path"],
        parent_id=base.id,
        job_id=job.id,
        result={"weights_sha256": result["weights_sha256"], "record": record},
        facts=read_facts(context.settings.home / result["model_path"]),
    )
    target = Ref(kind="model_version", id=version.id)
    link(session, Ref(kind="model_version", id=base.id), target, "base")
    link(session, Ref(kind="dataset_version", id=made.data.version_id), target, f"trained on {made.data.split}")
    link(session, Ref(kind="job", id=job.id), target, f"made by {attempt_id}")
    return {"model_version_id": version.id, "base_version_id": base.id}
