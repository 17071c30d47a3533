"""Register, find and publish model versions. Never commits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import NotFound
from workbench.core.ids import new_id
from workbench.core.lineage import describes
from workbench.core.lineage import lineage as trace
from workbench.core.ownership import require_change, share
from workbench.core.schemas import PRIVATE, Lineage, Page, PageQuery, Ref, Sharing
from workbench.registry import schemas
from workbench.registry.facts import read_facts
from workbench.registry.folders import BaseModelNotFound, fingerprint, locate, name_of
from workbench.registry.tables import Model, ModelAlias, ModelVersion


class ModelNotFound(NotFound):
    """There is no such model."""

    code = "model.not_found"


class ModelVersionNotFound(NotFound):
    """There is no such model version."""

    code = "model.version_not_found"


class AliasMissing(NotFound):
    """The model has no such alias or version."""

    code = "model.alias_not_found"


def resolve(context: Context, base: str) -> schemas.ModelVersion:
    """Return the version that `base` names.

    That is a version's id, a model's name with an alias or number (`support@champion`, `support@3`), a folder on the
    server, or a model in the hub cache. A folder that is new to the workbench is registered as a base model.
    """
    known = _known(context, base)
    if known is not None:
        return _record(context.session, known)
    found = _located(context, base)
    return _register(context, found, fingerprint(found))


def folder(context: Context, base: str) -> Path:
    """Return the absolute folder of what `base` names, as `resolve` would find it; registers nothing."""
    known = _known(context, base)
    return context.settings.home / known.path if known is not None else _located(context, base)


def publish(
    session: Session,
    *,
    name: str,
    author: tuple[str, str],
    path: str,
    parent_id: str,
    job_id: str,
    result: dict[str, Any],
    facts: schemas.ModelFacts | None = None,
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
        facts=facts.model_dump() if facts is not None else None,
        notes="",
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
    return _model(context.session, _model_row(context.session, model_id))


def change_audience(context: Context, model_id: str, wanted: Sharing) -> schemas.Model:
    """Let nobody else, a team or everyone see a model with all its versions."""
    model = _model_row(context.session, model_id)
    share(context, model, wanted.audience, f"The model “{model.name}”")
    context.session.flush()
    return _model(context.session, model)


def version(session: Session, version_id: str) -> schemas.ModelVersion:
    """Return one version."""
    return _record(session, _version_row(session, version_id))


def versions(context: Context, model_id: str, query: PageQuery) -> Page[schemas.ModelVersion]:
    """Return a model's versions, newest first; ids are time-ordered, so the cursor is the last id."""
    model = _model_row(context.session, model_id)
    statement = select(ModelVersion).where(ModelVersion.model_id == model.id).order_by(ModelVersion.id.desc())
    if query.cursor is not None:
        statement = statement.where(ModelVersion.id < query.cursor)
    rows = context.session.scalars(statement.limit(query.limit + 1)).all()
    items = [_record(context.session, row) for row in rows[: query.limit]]
    return Page(items=items, next_cursor=items[-1].id if len(rows) > query.limit else None)


def update(context: Context, version_id: str, change: schemas.VersionUpdate) -> schemas.ModelVersion:
    """Change a version's notes, its aliases, or both."""
    row = _version_row(context.session, version_id)
    model = _model_row(context.session, row.model_id)
    require_change(context, model, f"The model “{model.name}”")
    if change.notes is not None:
        row.notes = change.notes
    if change.aliases is not None:
        _point(context.session, row, set(change.aliases))
    context.session.flush()
    return _record(context.session, row)


def lineage(context: Context, version_id: str) -> Lineage:
    """Return what the version came from and what came from it."""
    return trace(context.session, Ref(kind="model_version", id=_version_row(context.session, version_id).id))


@describes("model_version")
def describe(session: Session, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name model versions for a lineage."""
    statement = select(ModelVersion, Model.name).join(Model, Model.id == ModelVersion.model_id)
    rows = session.execute(statement.where(ModelVersion.id.in_(list(ids))))
    return {row.id: (f"{name} v{row.number}", row.kind) for row, name in rows}


def aliases(session: Session, version_id: str) -> list[str]:
    """Return the names that point at a version."""
    found = select(ModelAlias.name).where(ModelAlias.version_id == version_id).order_by(ModelAlias.name)
    return list(session.scalars(found))


def _point(session: Session, row: ModelVersion, names: set[str]) -> None:
    """Let exactly these aliases point at a version, wherever they pointed before."""
    session.get_one(Model, row.model_id, with_for_update=True)  # one change of a model's aliases at a time
    there = session.scalars(select(ModelAlias).where(ModelAlias.model_id == row.model_id)).all()
    for alias in there:
        if alias.version_id == row.id and alias.name not in names:
            session.delete(alias)
        elif alias.name in names and alias.version_id != row.id:
            alias.version_id, alias.set_at = row.id, utcnow()
    for name in sorted(names - {alias.name for alias in there}):
        session.add(ModelAlias(model_id=row.model_id, name=name, version_id=row.id, set_at=utcnow()))


def _located(context: Context, base: str) -> Path:
    """Return the folder that `base` names; that of somebody's own model is not there for others."""
    found = locate(base)
    home = context.settings.home.resolve()
    if found.is_relative_to(home):
        table = ModelVersion.__table__  # not narrowed to what the caller sees
        made = select(table.c.id).where(table.c.path == str(found.relative_to(home)))
        owned = context.session.scalars(made).all()
        if owned and not any(context.session.get(ModelVersion, identity) for identity in owned):
            raise BaseModelNotFound(f"There is no base model “{base}” for you.")
    return found


def _known(context: Context, base: str) -> ModelVersion | None:
    """Return the registered version that an id or a `name@alias` names; None for what may be a folder.

    A name is first that of one's own model, then that of the newest one that was shared.
    """
    session = context.session
    by_id = session.get(ModelVersion, base)
    name, at, pointer = base.rpartition("@")
    mine = Model.owner_id == context.user.id
    model = session.scalar(select(Model).filter_by(name=name).order_by(mine.desc(), Model.id.desc())) if at else None
    return by_id if by_id is not None or model is None else _pointed(session, model, pointer)


def _pointed(session: Session, model: Model, pointer: str) -> ModelVersion:
    found = select(ModelVersion).where(ModelVersion.model_id == model.id)
    if pointer.isascii() and pointer.isdecimal():
        found = found.where(ModelVersion.number == int(pointer[:9]))
    else:
        alias = (ModelAlias.model_id == model.id) & (ModelAlias.name == pointer)
        found = found.join(ModelAlias, ModelAlias.version_id == ModelVersion.id).where(alias)
    version = session.scalar(found)
    if version is None:
        raise AliasMissing(f"The model “{model.name}” has no alias or version “{pointer[:64]}”.")
    return version


def _register(context: Context, folder: Path, mark: str) -> schemas.ModelVersion:
    session = context.session
    same = (ModelVersion.fingerprint == mark) & (ModelVersion.path == str(folder))
    known = session.scalar(select(ModelVersion).where(same, ModelVersion.author_id == context.user.id))
    if known is None:
        model = _named(session, context.user.id, name_of(folder))
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
            facts=read_facts(folder).model_dump(),
            notes="",
            created_at=utcnow(),
        )
        session.add(known)
        session.flush()
    return _record(session, known)


def _model_row(session: Session, model_id: str) -> Model:
    model = session.get(Model, model_id)
    if model is None:
        raise ModelNotFound(f"There is no model {model_id}.")
    return model


def _version_row(session: Session, version_id: str) -> ModelVersion:
    row = session.get(ModelVersion, version_id)
    if row is None:
        raise ModelVersionNotFound(f"There is no model version {version_id}.")
    return row


def _named(session: Session, owner_id: str, name: str) -> Model:
    model = session.scalar(select(Model).filter_by(owner_id=owner_id, name=name))
    if model is None:
        model = Model(id=new_id("mdl"), owner_id=owner_id, name=name, audience=PRIVATE, created_at=utcnow())
        session.add(model)
        session.flush()
    return model


def _next_number(session: Session, model_id: str) -> int:
    return 1 + (session.scalar(select(func.max(ModelVersion.number)).where(ModelVersion.model_id == model_id)) or 0)


def _model(session: Session, row: Model) -> schemas.Model:
    statement = select(ModelVersion).where(ModelVersion.model_id == row.id).order_by(ModelVersion.number.desc())
    versions = [_record(session, version) for version in session.scalars(statement)]
    return schemas.Model(id=row.id, name=row.name, audience=row.audience, created_at=row.created_at, versions=versions)


def _record(session: Session, row: ModelVersion) -> schemas.ModelVersion:
    model = session.get(Model, row.model_id)
    assert model is not None
    elsewhere = {"model_name", "aliases"}
    own = {name: getattr(row, name) for name in schemas.ModelVersion.model_fields.keys() - elsewhere}
    return schemas.ModelVersion.model_validate({**own, "model_name": model.name, "aliases": aliases(session, row.id)})
