"""The objects that a researcher holds in a notebook: datasets, their splits and rows. They speak HTTP only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from workbench.core.errors import Invalid, invalid_input
from workbench.core.http import HTTP
from workbench.core.schemas import PageQuery
from workbench.datasets import routes, schemas
from workbench.datasets.card import dataset_card, rows_table, shorten
from workbench.datasets.errors import DatasetNotFound
from workbench.datasets.schemas import DEFAULT_TEST_FRACTION

PAGE = 200
CARD_ROWS = 5
SPLITS = ("train", "test", "all")

#: a file's path, or rows as dictionaries
Source = str | Path | Sequence[Mapping[str, Any]]


class Datasets:
    """All datasets: `datasets.upload("x.jsonl")`, `datasets["x"]`, `list(datasets)`."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        test_fraction: float = DEFAULT_TEST_FRACTION,
        split_seed: int = 0,
        message: str = "",
        progress: Callable[[int], None] | None = None,
        **columns: str,
    ) -> Dataset:
        """Create a dataset from a JSON Lines, JSON, CSV, Excel or Parquet file, or from rows (which need a `name`).

        Prompts and completions, conversations (OpenAI's or ShareGPT's), Alpaca's instructions, preferences and plain
        texts are recognised; the dataset's `reading` says what was taken for what. `columns` are the fields of
        `ColumnRoles`, such as `prompt="question"`, `messages="chat"` or `format="text"`.
        """
        if name is None and not isinstance(source, str | Path):
            raise Invalid('Rows have no file name to call the dataset by; pass name="…".')
        with _as_file(source) as path:
            query = schemas.DatasetUpload(
                filename=path.name,
                name=name,
                test_fraction=test_fraction,
                split_seed=split_seed,
                message=message,
                **_roles(columns),
            )
            return Dataset(self._http, self._http.upload(routes.create, path, query=query, progress=progress))

    def __getitem__(self, name: str) -> Dataset:
        found = self._http.call(routes.listing, query=schemas.DatasetsQuery(name=name)).items
        if not found:
            raise DatasetNotFound(f'There is no dataset named "{name}".')
        return Dataset(self._http, found[0])

    def __iter__(self) -> Iterator[Dataset]:
        query = schemas.DatasetsQuery(limit=PAGE)
        while True:
            page = self._http.call(routes.listing, query=query)
            yield from (Dataset(self._http, record) for record in page.items)
            if page.next_cursor is None:
                return
            query = schemas.DatasetsQuery(limit=PAGE, cursor=page.next_cursor)

    def list(self) -> list[Dataset]:
        """Return every dataset, newest first."""
        return [*self]

    def get(self, dataset_id: str) -> Dataset:
        """Return a dataset by its id."""
        return Dataset(self._http, self._http.call(routes.show, dataset_id=dataset_id))

    def _ipython_key_completions_(self) -> Sequence[str]:
        return [dataset.name for dataset in self]

    def __repr__(self) -> str:
        page = self._http.call(routes.listing, query=schemas.DatasetsQuery(limit=8))
        lines = [f"{record.name} (version {record.head.number}, {record.head.rows:,} rows)" for record in page.items]
        return "\n".join(["Datasets:", *lines, *(["…"] if page.next_cursor else [])])


@dataclass(frozen=True, repr=False)
class Dataset:
    """A dataset at the version that was its newest when it was asked for."""

    http: HTTP
    record: schemas.Dataset

    @property
    def id(self) -> str:
        """The dataset's id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.record.name

    @property
    def version(self) -> schemas.Version:
        """The version that this object reads."""
        return self.record.head

    @property
    def reading(self) -> str:
        """What the file was taken for, in one sentence."""
        return self.version.reading

    def __getitem__(self, split: str) -> Split:
        if split not in SPLITS:
            raise KeyError(f"{split!r} is no split; choose one of {', '.join(SPLITS)}")
        return Split(
            self.http, self.version, schemas.SplitRef.model_validate({"version_id": self.version.id, "split": split})
        )

    def _ipython_key_completions_(self) -> Sequence[str]:
        return list(SPLITS)

    def __len__(self) -> int:
        return self.version.rows

    def head(self, n: int = CARD_ROWS) -> Rows:
        """Return the first rows."""
        return self["all"].head(n)

    def versions(self) -> list[schemas.VersionSummary]:
        """Return the whole history, newest version first."""
        found: list[schemas.VersionSummary] = []
        cursor: str | None = None
        while True:
            query = PageQuery(limit=PAGE, cursor=cursor)
            page = self.http.call(routes.versions, query=query, dataset_id=self.id)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def upload_version(
        self,
        source: Source,
        *,
        message: str = "",
        test_fraction: float | None = None,
        split_seed: int | None = None,
        **columns: str,
    ) -> Dataset:
        """Replace the rows as a new version and return it. What is not given stays as in this version."""
        head = self.version
        same = columns.get("format", head.mapping.format) == head.mapping.format
        kept = head.mapping.model_dump(exclude_none=True) if same else {}
        with _as_file(source) as path:
            query = schemas.VersionUpload(
                filename=path.name,
                parent=head.id,
                test_fraction=head.test_fraction if test_fraction is None else test_fraction,
                split_seed=head.split_seed if split_seed is None else split_seed,
                message=message,
                **_roles(kept | columns),
            )
            return Dataset(self.http, self.http.upload(routes.add_version, path, query=query, dataset_id=self.id))

    def dict(self) -> dict[str, Any]:
        """Return everything the server says about this dataset, as plain values."""
        return self.record.model_dump(mode="json")

    def __repr__(self) -> str:
        head = self.version
        return (
            f"Dataset({self.name!r}, version {head.number}, {head.rows:,} rows: "
            f"{head.train_rows:,} train, {head.test_rows:,} test)\n{shorten(self.reading)}"
        )

    def _repr_html_(self) -> str:
        return dataset_card(self.record, self.head())


@dataclass(frozen=True, repr=False)
class Split:
    """One side of a version: give it to `train` or `evaluate`."""

    http: HTTP
    version: schemas.Version
    ref: schemas.SplitRef

    @property
    def version_id(self) -> str:
        """The id of the version."""
        return self.ref.version_id

    @property
    def split(self) -> schemas.Split:
        """Which side: train, test or all."""
        return self.ref.split

    @property
    def rows(self) -> int:
        """Number of rows."""
        return {"train": self.version.train_rows, "test": self.version.test_rows, "all": self.version.rows}[self.split]

    def __len__(self) -> int:
        return self.rows

    def page(self, offset: int = 0, limit: int = 50) -> schemas.RowsPage:
        """Return up to `limit` (at most 200) rows from `offset` on."""
        query = schemas.RowsQuery(offset=offset, limit=limit, split=self.split)
        return self.http.call(routes.rows, query=query, version_id=self.version_id)

    def __iter__(self) -> Iterator[schemas.Row]:
        for offset in range(0, self.rows, PAGE):
            yield from self.page(offset, PAGE).items

    def head(self, n: int = CARD_ROWS) -> Rows:
        """Return the first rows."""
        pages = (self.page(offset, min(PAGE, n - offset)).items for offset in range(0, min(n, self.rows), PAGE))
        return Rows(row for items in pages for row in items)

    def dict(self) -> dict[str, Any]:
        """Return the reference as plain values."""
        return {**self.ref.model_dump(), "rows": self.rows}

    def __repr__(self) -> str:
        return f"Split({self.split!r}, {self.rows:,} rows of version {self.version.number})"

    def _repr_html_(self) -> str:
        return rows_table(self.head())


class Rows(list[schemas.Row]):
    """Rows that show themselves as a table."""

    def __repr__(self) -> str:
        shown = [f"{row.row_id} [{row.split}] {_line(row.prompt)} → {_line(row.completion)}" for row in self[:9]]
        return "\n".join([*shown, *([f"… {len(self) - 9:,} more"] if len(self) > 9 else [])])

    def _repr_html_(self) -> str:
        return rows_table(self)


def _roles(columns: Mapping[str, str]) -> dict[str, Any]:
    """Check the columns' roles before anything is sent; a wrong name is a mistake in the call."""
    try:
        return schemas.ColumnRoles.model_validate(columns).model_dump(exclude_none=True)
    except ValidationError as error:
        raise invalid_input(error, "the columns") from error


def _line(text: str) -> str:
    return shorten(" ".join(text.split()), 60)


@contextmanager
def _as_file(source: Source) -> Iterator[Path]:
    """Give rows the form of a file for as long as they are sent."""
    if isinstance(source, str | Path):
        yield Path(source).expanduser()
        return
    with TemporaryDirectory(prefix="workbench-") as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in source)
        yield path
