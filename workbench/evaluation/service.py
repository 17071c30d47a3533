"""Accepts evaluations, publishes their scores, and reads their per-row records. Never commits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import Invalid, NotFound
from workbench.core.ids import new_id
from workbench.core.lineage import describes, link
from workbench.core.routes import Download
from workbench.core.schemas import Page, PageQuery, Ref
from workbench.datasets import service as datasets
from workbench.datasets.schemas import SplitRef
from workbench.evaluation import report as reports
from workbench.evaluation import samples as stored
from workbench.evaluation import schemas
from workbench.evaluation.tables import Evaluation
from workbench.jobs import service as jobs
from workbench.jobs.agent import capacity
from workbench.jobs.schemas import Job
from workbench.registry import service as registry
from workbench.registry.schemas import ModelVersion

SETTINGS = {"max_new_tokens", "batch_size", "limit", "seed", "primary"}


class EvaluationNotFound(NotFound):
    """There is no such evaluation."""

    code = "evaluation.not_found"


class ComparedWithItself(Invalid):
    """A model is not compared with itself."""

    code = "evaluation.same_model"


def submit(context: Context, version_id: str, spec: schemas.EvaluationSpec) -> Job:
    """Queue the scoring of a model version, beside its baseline when one is named."""
    tuned = registry.version(context.session, version_id)
    models = [_evaluated(tuned, "tuned")]
    if spec.baseline is not None:
        if spec.baseline == tuned.id:
            raise ComparedWithItself("The baseline is the model itself; choose another version or leave it out.")
        models.insert(0, _evaluated(registry.version(context.session, spec.baseline), "base"))
    data = datasets.resolve(context, spec.data)
    settings = spec.model_dump(include=SETTINGS)
    job = schemas.EvaluationJob(models=models, data=data, **settings)
    gpus = 1 if capacity(context.settings)[1] else 0
    title = f"Evaluate {_name(tuned)}"
    return jobs.submit(context, "evaluate", title, job.model_dump(mode="json"), gpus=gpus)


def publish(context: Context, job: Job, attempt_id: str, result: dict[str, Any]) -> dict[str, Any]:
    """Store the scores that a job found, with their lineage."""
    spec = schemas.EvaluationJob.model_validate(job.spec)
    found = schemas.EvaluationResult.model_validate(result)
    settings = spec.model_dump(mode="json", include=SETTINGS)
    row = Evaluation(
        id=new_id("ev"),
        job_id=job.id,
        dataset_version_id=spec.data.version_id,
        split=spec.data.split,
        settings=settings | {"environment": found.environment},
        scores=[score.model_dump(mode="json") for score in found.results],
        comparison=found.comparison.model_dump(mode="json") if found.comparison is not None else None,
        created_at=utcnow(),
    )
    session = context.session
    session.add(row)
    target = Ref(kind="evaluation", id=row.id)
    link(session, Ref(kind="dataset_version", id=spec.data.version_id), target, f"scored on {spec.data.split}")
    link(session, Ref(kind="job", id=job.id), target, f"made by {attempt_id}")
    for model in spec.models:
        link(session, Ref(kind="model_version", id=model.version_id), target, model.role)
    return {"evaluation_id": row.id}


def listing(context: Context, query: PageQuery) -> Page[schemas.Evaluation]:
    """Return evaluations, newest first."""
    statement = select(Evaluation).order_by(Evaluation.id.desc()).limit(query.limit + 1)
    if query.cursor is not None:
        statement = statement.where(Evaluation.id < query.cursor)
    rows = context.session.scalars(statement).all()
    more = len(rows) > query.limit
    cursor = rows[query.limit - 1].id if more else None
    return Page(items=[_record(context.session, row) for row in rows[: query.limit]], next_cursor=cursor)


def show(context: Context, evaluation_id: str) -> schemas.Evaluation:
    """Return one evaluation."""
    row = context.session.get(Evaluation, evaluation_id)
    if row is None:
        raise EvaluationNotFound(f"There is no evaluation {evaluation_id}.")
    return _record(context.session, row)


def samples(context: Context, evaluation_id: str, query: schemas.SamplesQuery) -> schemas.SamplesPage:
    """Return rows with every model's answer side by side."""
    evaluation = show(context, evaluation_id)
    rows = stored.read(context.settings.home, evaluation.scores)
    return stored.page(rows, query, _primary(evaluation))


def report(context: Context, evaluation_id: str, query: schemas.ReportQuery) -> Download:
    """Return everything that is known of an evaluation, as one file."""
    evaluation = show(context, evaluation_id)
    rows = list(stored.read(context.settings.home, evaluation.scores))
    models = [registry.version(context.session, score.version_id) for score in evaluation.scores]
    return reports.write(reports.Report(evaluation, models, rows), query.format)


@describes("evaluation")
def describe(session: Session, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name evaluations for a lineage: by their verdict and the best score."""
    rows = session.scalars(select(Evaluation).where(Evaluation.id.in_(list(ids))))
    return {row.id: _label(_record(session, row)) for row in rows}


def _label(evaluation: schemas.Evaluation) -> tuple[str, str]:
    scores = ", ".join(f"{score.role} {score.exact_match:.3f}" for score in evaluation.scores)
    verdict = evaluation.comparison.verdict if evaluation.comparison is not None else ""
    return f"Evaluation on {evaluation.data.split}", f"exact match {scores}" + (f": {verdict}" if verdict else "")


def _name(version: ModelVersion) -> str:
    return f"{version.model_name} v{version.number}"


def _called(names: dict[str, tuple[str, str]], identity: str) -> str:
    """Return a thing's name; what was not shared along with the evaluation has its id alone."""
    return names.get(identity, (identity, ""))[0]


def _evaluated(version: ModelVersion, role: schemas.Role) -> schemas.EvaluatedModel:
    return schemas.EvaluatedModel(version_id=version.id, path=version.path, role=role)


def _primary(evaluation: schemas.Evaluation) -> schemas.Metric:
    return evaluation.comparison.primary if evaluation.comparison is not None else "exact_match"


def _record(session: Session, row: Evaluation) -> schemas.Evaluation:
    scores = [schemas.ModelScore.model_validate(score) for score in row.scores]
    called = registry.describe(session, [score.version_id for score in scores])
    names = {score.role: _called(called, score.version_id) for score in scores}
    data = datasets.describe(session, [row.dataset_version_id])
    return schemas.Evaluation(
        id=row.id,
        job_id=row.job_id,
        model=names["tuned"],
        baseline=names.get("base"),
        dataset=_called(data, row.dataset_version_id),
        data=SplitRef.model_validate({"version_id": row.dataset_version_id, "split": row.split}),
        settings=row.settings,
        scores=scores,
        comparison=schemas.Comparison.model_validate(row.comparison) if row.comparison is not None else None,
        created_at=row.created_at,
    )
