"""What the datasets API speaks: datasets, immutable versions, pages of rows, and the references that jobs carry."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.core.schemas import Name, PageQuery, Schema, Time

Split = Literal["train", "test", "all"]

DEFAULT_TEST_FRACTION = 0.1
MESSAGE_LENGTH = 1_000  # characters


def without_nul(text: str) -> str:
    """Refuse NUL, which PostgreSQL cannot store."""
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


Message = Annotated[str, Field(max_length=MESSAGE_LENGTH), AfterValidator(without_nul)]
FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]
ColumnName = Annotated[str, AfterValidator(without_nul)]
TestFraction = Annotated[float, Field(ge=0.0, le=0.9)]
SplitSeed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ColumnMapping(Schema):
    """Which column of the file is the prompt and which the completion."""

    prompt: ColumnName
    completion: ColumnName


class Column(Schema):
    """A column as it is stored; `type` is Arrow's name for its type, or "json" for nested values kept as JSON text."""

    name: str
    type: str


class VersionSummary(Schema):
    """A line of a dataset's history."""

    id: str
    dataset_id: str
    #: 1, 2, 3 ... within the dataset
    number: int
    parent_id: str | None
    author_id: str
    author_name: str
    message: str
    created_at: Time
    rows: int
    content_hash: str


class Version(VersionSummary):
    """An immutable state of a dataset, with all that a run needs to read exactly these rows again."""

    train_rows: int
    test_rows: int
    size_bytes: int
    manifest: str
    mapping: ColumnMapping
    test_fraction: float
    split_seed: int
    columns: list[Column]
    #: one sentence: what was read, and what was taken for what
    reading: str


class Dataset(Schema):
    """A named dataset at its newest version."""

    id: str
    name: str
    owner_id: str
    created_at: Time
    head: Version


class SplitRef(Schema):
    """One side of a version: what a researcher hands to training or evaluation."""

    version_id: str
    split: Split


class DataRef(Schema):
    """All that a job needs to read rows without the database."""

    dataset_id: str
    version_id: str
    manifest: str
    mapping: ColumnMapping
    split: Split
    test_fraction: float
    split_seed: int


class DatasetsQuery(PageQuery):
    """Which datasets to list; `name` finds one by its exact name."""

    name: str | None = None


class DatasetUpload(Schema):
    """How to read the uploaded file. Columns that are not named are recognised."""

    filename: FileName
    #: the file name without its ending, unless given
    name: Name | None = None
    prompt: ColumnName | None = None
    completion: ColumnName | None = None
    test_fraction: TestFraction = DEFAULT_TEST_FRACTION
    split_seed: SplitSeed = 0
    message: Message = ""


class VersionUpload(Schema):
    """A file that replaces the content of a dataset, and how to read and split it."""

    filename: FileName
    #: id of the version that the author saw; refused when the dataset has moved on
    parent: str
    prompt: ColumnName | None = None
    completion: ColumnName | None = None
    test_fraction: TestFraction
    split_seed: SplitSeed
    message: Message = ""


class RowsQuery(Schema):
    """Which rows of a version to show; `offset` counts within the split."""

    offset: int = Field(default=0, ge=0, le=2**63 - 1)
    limit: int = Field(default=50, ge=1, le=200)
    split: Split = "all"


class Row(Schema):
    """A row as training and evaluation see it."""

    row_id: int
    prompt: str
    completion: str
    split: Literal["train", "test"]


class RowsPage(Schema):
    """Rows from `offset` on; `total` counts the whole split."""

    items: list[Row]
    offset: int
    total: int
