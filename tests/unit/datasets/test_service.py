from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.errors import Invalid
from workbench.core.schemas import PageQuery
from workbench.core.settings import Settings
from workbench.datasets import schemas, service
from workbench.datasets.errors import (
    DatasetNotFound,
    EmptySplit,
    FileRefused,
    NameTaken,
    NothingChanged,
    StaleParent,
    VersionNotFound,
)
from workbench.datasets.split import assign
from workbench.datasets.tables import Dataset, DatasetVersion

from .conftest import USER, Write

ROWS = "question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(30))


def create(context: Context, write: Write, text: str = ROWS, **query: Any) -> schemas.Dataset:
    upload = schemas.DatasetUpload.model_validate({"filename": "support.csv", **query})
    return service.create(context, write(upload.filename, text).path, upload)


def replace(context: Context, write: Write, dataset: schemas.Dataset, text: str, **query: Any) -> schemas.Dataset:
    values = {"filename": "new.csv", "parent": dataset.head.id, "test_fraction": 0.1, "split_seed": 0, **query}
    upload = schemas.VersionUpload.model_validate(values)
    return service.add_version(context, dataset.id, write(upload.filename, text).path, upload)


def test_a_new_dataset_has_a_first_version(context: Context, write: Write) -> None:
    dataset = create(context, write, message="from the help desk", split_seed=3, test_fraction=0.5)
    head = dataset.head
    assert (dataset.name, dataset.owner_id) == ("support", USER.id)
    assert (head.number, head.parent_id, head.author_id, head.author_name) == (1, None, USER.id, USER.name)
    assert (head.message, head.rows, head.split_seed, head.test_fraction) == ("from the help desk", 30, 3, 0.5)
    assert head.test_rows == sum(assign(f"q{n}", 3, 0.5) == "test" for n in range(30))
    assert head.train_rows + head.test_rows == 30
    assert head.mapping == schemas.ColumnMapping(prompt="question", completion="answer")
    assert head.reading.startswith("Read 30 rows of CSV")
    assert head.size_bytes > 0
    assert service.show(context, dataset.id) == dataset
    assert service.version(context, head.id) == head


def test_a_name_may_be_given(context: Context, write: Write) -> None:
    assert create(context, write, name="Help desk 2026").name == "Help desk 2026"


@pytest.mark.parametrize(
    ("filename", "name"),
    [("support.csv", "support"), ("my data (1).v2.csv", "my data -1-.v2"), ("_x-.csv", "_x"), ("客服.csv", "客服")],
)
def test_the_name_comes_from_the_file(filename: str, name: str) -> None:
    assert service.name_of(filename) == name


def test_a_file_name_without_letters_gives_no_name() -> None:
    with pytest.raises(Invalid, match="gives no name for the dataset; pass one"):
        service.name_of("-.csv")


def test_a_taken_name_is_refused(context: Context, database: Database, write: Write) -> None:
    create(context, write)
    with pytest.raises(NameTaken) as refused:
        create(context, write)
    assert refused.value.status == 409
    assert refused.value.detail.startswith('You already have a dataset named "support"')


def test_another_owner_may_use_the_name(context: Context, write: Write, settings: Settings) -> None:
    create(context, write)
    bob = Principal("u_bob", "Bob", USER.permissions)
    assert create(Context(context.session, bob, settings), write).owner_id == "u_bob"


def test_a_refused_file_leaves_no_row(context: Context, write: Write) -> None:
    with pytest.raises(FileRefused):
        create(context, write, text="question,answer\nshort\n")
    assert context.session.scalar(select(func.count()).select_from(Dataset)) == 0


def test_no_transaction_is_open_while_a_file_is_read(
    database: Database, settings: Settings, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite an open writer would stop every other writer."""
    real, others = service.ingest, []

    def ingest(*arguments: Any, **named: Any) -> Any:
        with database.write() as session:
            others.append(session.scalar(select(func.count()).select_from(Dataset)))
        return real(*arguments, **named)

    monkeypatch.setattr(service, "ingest", ingest)
    with database.write() as session:
        dataset = create(Context(session, USER, settings), write)
    with database.write() as session:
        replace(Context(session, USER, settings), write, dataset, ROWS + "q,a\n")
    assert others == [0, 1]


def test_a_version_replaces_the_rows_and_the_old_one_stays(context: Context, write: Write) -> None:
    first = create(context, write)
    second = replace(context, write, first, ROWS + "one,more\n", message="one more")
    assert (second.head.number, second.head.parent_id, second.head.rows) == (2, first.head.id, 31)
    history = service.versions(context, first.id, PageQuery()).items
    assert [(version.number, version.message) for version in history] == [(2, "one more"), (1, "")]
    old = service.rows(context, first.head.id, schemas.RowsQuery(limit=200))
    assert [row.prompt for row in old.items] == [f"q{n}" for n in range(30)]
    assert service.version(context, first.head.id) == first.head


def test_a_stale_parent_is_refused(context: Context, write: Write) -> None:
    first = create(context, write)
    second = replace(context, write, first, ROWS + "one,more\n")
    with pytest.raises(StaleParent) as refused:
        replace(context, write, first, ROWS + "another,row\n")
    assert refused.value.status == 409
    assert service.show(context, first.id) == second
    assert context.session.scalar(select(func.count()).select_from(DatasetVersion)) == 2


def test_the_same_content_is_refused(context: Context, write: Write) -> None:
    first = create(context, write)
    with pytest.raises(NothingChanged, match='what version 1 of "support" already holds'):
        replace(context, write, first, ROWS)


@pytest.mark.parametrize(
    "change", [{"test_fraction": 0.4}, {"split_seed": 1}, {"prompt": "answer", "completion": "question"}]
)
def test_another_split_or_mapping_of_the_same_content_is_a_change(
    context: Context, write: Write, change: dict[str, Any]
) -> None:
    first = create(context, write)
    second = replace(context, write, first, ROWS, **change)
    assert second.head.content_hash == first.head.content_hash
    assert second.head.number == 2


def test_the_parent_must_be_a_version_of_the_dataset(context: Context, write: Write) -> None:
    first, other = create(context, write), create(context, write, name="other")
    with pytest.raises(VersionNotFound, match='"support" has no version dsv_'):
        replace(context, write, first, ROWS + "q,a\n", parent=other.head.id)


def test_unknown_ids_are_not_found(context: Context, write: Write) -> None:
    for call in (service.show, service.version):
        with pytest.raises((DatasetNotFound, VersionNotFound), match="There is no dataset"):
            call(context, "nothing")
    with pytest.raises(DatasetNotFound):
        service.versions(context, "nothing", PageQuery())
    with pytest.raises(VersionNotFound):
        service.rows(context, "nothing", schemas.RowsQuery())
    with pytest.raises(VersionNotFound):
        service.resolve(context, schemas.SplitRef(version_id="nothing", split="train"))


def test_lists_are_paged_newest_first(context: Context, write: Write) -> None:
    made = [create(context, write, name=f"d{n}").id for n in range(5)]
    found: list[str] = []
    cursor = None
    for _ in range(3):
        page = service.listing(context, schemas.DatasetsQuery(limit=2, cursor=cursor))
        found += [dataset.id for dataset in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert found == sorted(made, reverse=True)
    assert [dataset.name for dataset in service.listing(context, schemas.DatasetsQuery(name="d3")).items] == ["d3"]


def test_histories_are_paged_newest_first(context: Context, write: Write) -> None:
    dataset = create(context, write)
    for n in range(4):
        dataset = replace(context, write, dataset, f"{ROWS}extra,{n}\n")
    first = service.versions(context, dataset.id, PageQuery(limit=3))
    second = service.versions(context, dataset.id, PageQuery(limit=3, cursor=first.next_cursor))
    assert [version.number for version in [*first.items, *second.items]] == [5, 4, 3, 2, 1]
    assert second.next_cursor is None
    with pytest.raises(Invalid, match="cursor"):
        service.versions(context, dataset.id, PageQuery(cursor="x"))


def test_rows_are_paged_within_a_split(context: Context, write: Write) -> None:
    head = create(context, write, test_fraction=0.5).head
    page = service.rows(context, head.id, schemas.RowsQuery(split="test", offset=2, limit=3))
    expected = [f"q{n}" for n in range(30) if assign(f"q{n}", 0, 0.5) == "test"]
    assert [row.prompt for row in page.items] == expected[2:5]
    assert page.total == head.test_rows


def test_a_job_gets_all_it_needs(context: Context, write: Write) -> None:
    dataset = create(context, write)
    head = dataset.head
    data = service.resolve(context, schemas.SplitRef(version_id=head.id, split="train"))
    assert data == schemas.DataRef(
        dataset_id=dataset.id,
        version_id=head.id,
        manifest=head.manifest,
        mapping=head.mapping,
        split="train",
        test_fraction=0.1,
        split_seed=0,
    )


def test_a_split_without_rows_cannot_be_used(context: Context, write: Write) -> None:
    head = create(context, write, test_fraction=0.0).head
    with pytest.raises(EmptySplit, match="The test split of version 1 has no rows"):
        service.resolve(context, schemas.SplitRef(version_id=head.id, split="test"))


def test_of_two_writers_on_one_parent_one_wins(database: Database, settings: Settings, write: Write) -> None:
    with database.write() as session:
        first = create(Context(session, USER, settings), write)
    with database.write() as session:
        replace(Context(session, USER, settings), write, first, ROWS + "x,y\n")
    with pytest.raises(StaleParent), database.write() as session:
        replace(Context(session, USER, settings), write, first, ROWS + "z,y\n")
    with database.read() as session:
        assert session.scalars(select(DatasetVersion.number).order_by(DatasetVersion.number)).all() == [1, 2]
