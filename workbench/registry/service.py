"""Register, find and publish model versions. Never commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import NotFound
from workbench.core.ids import new_id
from workbench.core.lineage import edges
from workbench.core.schemas import Page, PageQuery, Ref
from workbench.registry import schemas
from workbench.registry.folders import fingerprint, locate
from workbench.registry.tables import Model, ModelVersion


class ModelNotFound(NotFound):
    """There is no such model."""

    code = "model.not_found"


class ModelVersionNotFound(NotFound):
    """There is no such model version."""

    code = "model.version_not_found"


def resolve(context: Context, base: str) -> schemas.ModelVersion:
    """Return the version that `base` names: a version's id, a folder on the server, or a model in the hub cache.

    A folder that is new to the workbench is registered as a base model.
    """
    known = context.session.get(ModelVersion, base)
    if known is not None:
        return _record(context.session, known)
    found = locate(base)
    return _register(context, found, fingerprint(found))


def folder(context: Context, base: str) -> Path:
    """Return the absolute folder of what `base` names, as `resolve` would find it; registers nothing."""
    known = context.session.get(ModelVersion, base)
    return context.settings.home / known.path if known is not None else locate(base)


def publish(
    session: Session,
    *,
    name: str,
    author: tuple[str, str],
    path: str,
    parent_id: str,
    job_id: str,
    result: dict[str, Any],
) -> schemas.ModelVersion:
    """Add the version that a run made; `result` carries `weights_sha256` and `record`."""
    model = _named(session, author[0], name)
    version = ModelVersion(
        id=new_id("mv"),
        model_id=model.id,
        number=_next_number(session, model.id),
        kind="tuned",
        path=path,
        weights_sha256=result["weights_sha256"],
        parent_id=parent_id,
        job_id=job_id,
        author_id=author[0],
        author_name=author[1],
        record=result["record"],
        created_at=utcnow(),
    )
    session.add(version)
    session.flush()
    return _record(session, version)


def note_weights(session: Session, version_id: str, weights_sha256: str) -> None:
    """Write down the hash of a base's weights the first time that a run has read them."""
    version = session.get(ModelVersion, version_id)
    if version is not None and version.weights_sha256 is None:
        version.weights_sha256 = weights_sha256


def listing(context: Context, query: PageQuery) -> Page[schemas.Model]:
    """Return models by age, newest first."""
    statement = select(Model).order_by(Model.id.desc()).limit(query.limit + 1)
    if query.cursor is not None:
        statement = statement.where(Model.id < query.cursor)
    rows = context.session.scalars(statement).all()
    more = len(rows) > query.limit
    items = [_model(context.session, row) for row in rows[: query.limit]]
    return Page(items=items, next_cursor=rows[query.limit - 1].id if more else None)


def show(context: Context, model_id: str) -> schemas.Model:
    """Return a model with its versions."""
    model = context.session.get(Model, model_id)
    if model is None:
        raise ModelNotFound(f"There is no model {model_id}.")
    return _model(context.session, model)


def version(session: Session, version_id: str) -> schemas.ModelVersion:
    """Return one version."""
    row = session.get(ModelVersion, version_id)
    if row is None:
        raise ModelVersionNotFound(f"There is no model version {version_id}.")
    return _record(session, row)


def lineage(context: Context, version_id: str) -> schemas.Lineage:
    """Return what the version came from and what came from it."""
    found = version(context.session, version_id)
    return schemas.Lineage(edges=edges(context.session, Ref(kind="model_version", id=found.id)))


def _register(context: Context, folder: Path, mark: str) -> schemas.ModelVersion:
    session = context.session
    same = (ModelVersion.fingerprint == mark) & (ModelVersion.path == str(folder))
    known = session.scalar(select(ModelVersion).where(same, ModelVersion.author_id == context.user.id))
    if known is None:
        model = _named(session, context.user.id, folder.name)
        known = ModelVersion(
            id=new_id("mv"),
            model_id=model.id,
            number=_next_number(session, model.id),
            kind="base",
            path=str(folder),
            fingerprint=mark,
            author_id=context.user.id,
            author_name=context.user.name,
            record={},
            created_at=utcnow(),
        )
        session.add(known)
        session.flush()
    return _record(session, known)


def _named(session: Session, owner_id: str, name: str) -> Model:
    model = session.scalar(select(Model).filter_by(owner_id=owner_id, name=name))
    if model is None:
        model = Model(id=new_id("mdl"), owner_id=owner_id, name=name, created_at=utcnow())
        session.add(model)
        session.flush()
    return model


def _next_number(session: Session, model_id: str) -> int:
    return 1 + (session.scalar(select(func.max(ModelVersion.number)).where(ModelVersion.model_id == model_id)) or 0)


def _model(session: Session, row: Model) -> schemas.Model:
    statement = select(ModelVersion).where(ModelVersion.model_id == row.id).order_by(ModelVersion.number.desc())
    versions = [_record(session, version) for version in session.scalars(statement)]
    return schemas.Model(id=row.id, name=row.name, created_at=row.created_at, versions=versions)


def _record(session: Session, row: ModelVersion) -> schemas.ModelVersion:
    model = session.get(Model, row.model_id)
    assert model is not None
    own = {name: getattr(row, name) for name in schemas.ModelVersion.model_fields if name != "model_name"}
    return schemas.ModelVersion.model_validate({**own, "model_name": model.name})
