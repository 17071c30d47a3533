"""Datasets and versions. Files are read and stored before the database is touched, so no transaction waits for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from pyroaring import BitMap
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import Invalid
from workbench.core.ids import new_id
from workbench.core.lineage import describes
from workbench.core.ownership import require_change, share
from workbench.core.schemas import PRIVATE, Page, PageQuery, Sharing
from workbench.datasets import preview, schemas
from workbench.datasets.encoding import SourceFile
from workbench.datasets.errors import (
    DatasetNotFound,
    EmptySplit,
    NameTaken,
    NothingChanged,
    RowNotFound,
    StaleParent,
    VersionNotFound,
)
from workbench.datasets.ingest import Content, Drawing, ingest, seal
from workbench.datasets.membership import remember
from workbench.datasets.store import Store, positions_of
from workbench.datasets.tables import Dataset, DatasetVersion

NAME_CHARACTERS = 128


def listing(context: Context, query: schemas.DatasetsQuery) -> Page[schemas.Dataset]:
    """Return datasets at their newest version, newest dataset first."""
    statement = (
        select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.id == Dataset.head_version_id)
        .order_by(Dataset.id.desc())
        .limit(query.limit + 1)
    )
    if query.name is not None:
        statement = statement.where(Dataset.name == query.name)
    if query.cursor is not None:
        statement = statement.where(Dataset.id < query.cursor)
    found = [record(dataset, head) for dataset, head in context.session.execute(statement)]
    items = found[: query.limit]
    return Page(items=items, next_cursor=items[-1].id if len(found) > query.limit else None)


def show(context: Context, dataset_id: str) -> schemas.Dataset:
    """Return a dataset at its newest version."""
    dataset = find(context.session, dataset_id)
    return record(dataset, find_version(context.session, dataset.head_version_id))


def create(context: Context, path: Path, query: schemas.DatasetUpload) -> schemas.Dataset:
    """Make a dataset with its first version from an uploaded file."""
    name = query.name or name_of(query.filename)
    content = ingest(
        context.settings.home,
        SourceFile(path, query.filename),
        Drawing(query.test_fraction, query.split_seed),
        query,
    )
    dataset = Dataset(
        id=new_id("ds"), owner_id=context.user.id, name=name, head_version_id=new_id("dsv"), audience=PRIVATE
    )
    dataset.created_at = utcnow()
    version = _version(context, dataset, content, query.message, parent=None)
    context.session.add(dataset)
    try:
        context.session.flush()
    except IntegrityError as error:
        detail = f'You already have a dataset named "{name}"; add a version to it or choose another name.'
        raise NameTaken(detail) from error
    context.session.add(version)
    context.session.flush()
    return record(dataset, version)


def change_audience(context: Context, dataset_id: str, wanted: Sharing) -> schemas.Dataset:
    """Let nobody else, a team or everyone see a dataset with all its versions."""
    dataset = find(context.session, dataset_id)
    share(context, dataset, wanted.audience, f'The dataset "{dataset.name}"')
    context.session.flush()
    return show(context, dataset_id)


def add_version(context: Context, dataset_id: str, path: Path, query: schemas.VersionUpload) -> schemas.Dataset:
    """Replace the content of a dataset by an uploaded file, as a new version on top of the one its author saw."""
    content = ingest(
        context.settings.home,
        SourceFile(path, query.filename),
        Drawing(query.test_fraction, query.split_seed),
        query,
    )
    dataset = find(context.session, dataset_id)
    require_change(context, dataset, f'The dataset "{dataset.name}"')
    parent = find_version(context.session, query.parent)
    _refuse_equal(dataset, parent, content)
    version = _version(context, dataset, content, query.message, parent)
    _move_head(context.session, dataset, parent, version)
    context.session.add(version)
    context.session.flush()
    return record(dataset, version)


def versions(context: Context, dataset_id: str, query: PageQuery) -> Page[schemas.VersionSummary]:
    """Return the history of a dataset, newest version first."""
    find(context.session, dataset_id)
    statement = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    if query.cursor is not None:
        statement = statement.where(DatasetVersion.number < _number(query.cursor))
    statement = statement.order_by(DatasetVersion.number.desc()).limit(query.limit + 1)
    found = [_summary(version) for version in context.session.scalars(statement)]
    items = found[: query.limit]
    return Page(items=items, next_cursor=str(items[-1].number) if len(found) > query.limit else None)


def version(context: Context, version_id: str) -> schemas.Version:
    """Return one version."""
    return version_record(find_version(context.session, version_id))


def rows(context: Context, version_id: str, query: schemas.RowsQuery) -> schemas.RowsPage:
    """Return a page of a version's rows."""
    data = reference(find_version(context.session, version_id), query.split)
    return preview.page(context.settings.home, data, query.offset, query.limit)


def resolve(context: Context, ref: schemas.SplitRef) -> schemas.DataRef:
    """Return all that a job needs to read this split without the database; refuse a split without rows."""
    found = find_version(context.session, ref.version_id)
    counts = {"train": found.train_rows, "test": found.test_rows, "all": found.rows}
    if not counts[ref.split]:
        raise EmptySplit(
            f"The {ref.split} split of version {found.number} has no rows; upload the data with another test_fraction."
        )
    return reference(found, ref.split)


def versions_with_row(context: Context, dataset_id: str, row_id: int) -> list[DatasetVersion]:
    """Return the versions of a dataset that hold a row, oldest first; raises `RowNotFound` when none does."""
    dataset = find(context.session, dataset_id)
    statement = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id).order_by(DatasetVersion.number)
    store, wanted = Store.of(context.settings.home), BitMap([row_id])
    rows = context.session.scalars(statement)
    found = [version for version in rows if positions_of(store.manifest(version.manifest), wanted)]
    if not found:
        raise RowNotFound(f'No version of the dataset "{dataset.name}" has a row {row_id}.')
    return found


@describes("dataset_version")
def describe(session: Session, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name dataset versions for a lineage."""
    joined = select(DatasetVersion, Dataset.name).join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    rows = session.execute(joined.where(DatasetVersion.id.in_(list(ids))))
    return {row.id: (f"{name} v{row.number}", f"{row.rows:,} rows") for row, name in rows}


def find(session: Session, dataset_id: str) -> Dataset:
    """Return the row of a dataset or raise `DatasetNotFound`."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise DatasetNotFound(f"There is no dataset {dataset_id}.")
    return dataset


def find_version(session: Session, version_id: str) -> DatasetVersion:
    """Return the row of a version or raise `VersionNotFound`."""
    found = session.get(DatasetVersion, version_id)
    if found is None:
        raise VersionNotFound(f"There is no dataset version {version_id}.")
    return found


def reference(version: DatasetVersion, split: schemas.Split) -> schemas.DataRef:
    """Return the reference to one split of a version."""
    return schemas.DataRef(
        dataset_id=version.dataset_id,
        version_id=version.id,
        manifest=version.manifest,
        mapping=schemas.ColumnMapping.model_validate(version.mapping),
        split=split,
        test_fraction=version.test_fraction,
        split_seed=version.split_seed,
    )


def record(dataset: Dataset, head: DatasetVersion) -> schemas.Dataset:
    """Return a dataset as the API shows it."""
    return schemas.Dataset(
        id=dataset.id,
        name=dataset.name,
        owner_id=dataset.owner_id,
        audience=dataset.audience,
        created_at=dataset.created_at,
        head=version_record(head),
    )


def version_record(version: DatasetVersion) -> schemas.Version:
    """Return a version as the API shows it."""
    return schemas.Version.model_validate({name: getattr(version, name) for name in schemas.Version.model_fields})


def name_of(filename: str) -> str:
    """Derive a dataset's name from its file's name."""
    name = re.sub(r"[^\w .\-]+", "-", PurePath(filename).stem).strip(" .-")[:NAME_CHARACTERS]
    if not name:
        raise Invalid("The file's name gives no name for the dataset; pass one.")
    return name


def _summary(version: DatasetVersion) -> schemas.VersionSummary:
    fields = schemas.VersionSummary.model_fields
    return schemas.VersionSummary.model_validate({name: getattr(version, name) for name in fields})


def _version(
    context: Context, dataset: Dataset, content: Content, message: str, parent: DatasetVersion | None
) -> DatasetVersion:
    made = DatasetVersion(
        id=dataset.head_version_id if parent is None else new_id("dsv"),
        dataset_id=dataset.id,
        number=1 if parent is None else parent.number + 1,
        parent_id=None if parent is None else parent.id,
        author_id=context.user.id,
        author_name=context.user.name,
        message=message,
        created_at=utcnow(),
        rows=content.rows,
        train_rows=content.rows - len(content.test),
        test_rows=len(content.test),
        size_bytes=content.size_bytes,
        manifest=seal(context.settings.home, content, None if parent is None else parent.manifest),
        content_hash=content.content_hash,
        mapping=content.mapping.model_dump(exclude_none=True),
        test_fraction=content.drawing.test_fraction,
        split_seed=content.drawing.seed,
        columns=[column.model_dump() for column in content.columns],
        reading=content.reading,
    )
    remember(context.settings.home, reference(made, "test"), content.test)
    return made


def _refuse_equal(dataset: Dataset, parent: DatasetVersion, content: Content) -> None:
    if parent.dataset_id != dataset.id:
        raise VersionNotFound(f'The dataset "{dataset.name}" has no version {parent.id}.')
    mapping = schemas.ColumnMapping.model_validate(parent.mapping)
    before = (parent.content_hash, mapping, parent.test_fraction, parent.split_seed)
    drawing = content.drawing
    if before == (content.content_hash, content.mapping, drawing.test_fraction, drawing.seed):
        raise NothingChanged(f'The file holds what version {parent.number} of "{dataset.name}" already holds.')


def _move_head(session: Session, dataset: Dataset, parent: DatasetVersion, version: DatasetVersion) -> None:
    """Make `version` the head if `parent` still is; of two writers, one loses here."""
    moved = session.execute(
        update(Dataset)
        .where(Dataset.id == dataset.id, Dataset.head_version_id == parent.id)
        .values(head_version_id=version.id)
        .returning(Dataset.id)
    )
    if moved.first() is None:
        raise StaleParent(
            f'"{dataset.name}" has a newer version than {parent.number}; look at it, then upload on top of it.'
        )


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise Invalid("The cursor is not one that this list gave.")
    return int(cursor)
