"""What the datasets API speaks: datasets, immutable versions, pages of rows, and the references that jobs carry."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from workbench.core.schemas import PRIVATE, Audience, Name, PageQuery, Schema, Time

Split = Literal["train", "test", "all"]
Format = Literal["prompt_completion", "messages", "preference", "text"]
ColumnRole = Literal["prompt", "input", "completion", "system", "messages", "chosen", "rejected", "text"]

#: For each format, the roles that need a column, and those that may have one.
ROLES: dict[Format, tuple[tuple[ColumnRole, ...], tuple[ColumnRole, ...]]] = {
    "prompt_completion": (("prompt", "completion"), ("input", "system")),
    "messages": (("messages",), ("system",)),
    "preference": (("chosen", "rejected"), ("prompt", "system")),
    "text": (("text",), ()),
}

DEFAULT_TEST_FRACTION = 0.1
MESSAGE_LENGTH = 1_000  # characters


def without_nul(text: str) -> str:
    """Refuse NUL, which PostgreSQL cannot store."""
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


CommitMessage = Annotated[str, Field(max_length=MESSAGE_LENGTH), AfterValidator(without_nul)]
FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]
ColumnName = Annotated[str, AfterValidator(without_nul)]
TestFraction = Annotated[float, Field(ge=0.0, le=0.9)]
SplitSeed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ColumnRoles(Schema):
    """Which column has which role; what is left out is recognised."""

    format: Format | None = None
    prompt: ColumnName | None = None
    #: what the prompt is about, as Alpaca has it; it follows the prompt after an empty line
    input: ColumnName | None = None
    completion: ColumnName | None = None
    system: ColumnName | None = None
    #: a conversation as a list of `{"role", "content"}` (OpenAI) or `{"from", "value"}` (ShareGPT)
    messages: ColumnName | None = None
    chosen: ColumnName | None = None
    rejected: ColumnName | None = None
    text: ColumnName | None = None

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are given, by their role."""
        given = ((role, getattr(self, role)) for roles in ROLES.values() for part in roles for role in part)
        return {role: column for role, column in given if column is not None}


class ColumnMapping(ColumnRoles):
    """What a row is made of: its format, and the column of each role that the format knows."""

    format: Format = "prompt_completion"

    @model_validator(mode="after")
    def _fits_its_format(self) -> Self:
        needed, optional = ROLES[self.format]
        missing = [role for role in needed if getattr(self, role) is None]
        foreign = [role for role in self.roles if role not in (*needed, *optional)]
        if missing or foreign:
            wrong = f"needs a column for {missing[0]}" if missing else f"knows no {foreign[0]}"
            raise ValueError(f"the format {self.format} {wrong}")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns that rows are made of, each once."""
        return list(dict.fromkeys(self.roles.values()))


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
    #: Who sees it beside its owner: `private`, `everyone`, or a team's id.
    audience: Audience = PRIVATE
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


class DatasetUpload(ColumnRoles):
    """How to read the uploaded file. Columns that are not named are recognised."""

    filename: FileName
    #: the file name without its ending, unless given
    name: Name | None = None
    test_fraction: TestFraction = DEFAULT_TEST_FRACTION
    split_seed: SplitSeed = 0
    message: CommitMessage = ""


class VersionUpload(ColumnRoles):
    """A file that replaces the content of a dataset, and how to read and split it."""

    filename: FileName
    #: id of the version that the author saw; refused when the dataset has moved on
    parent: str
    test_fraction: TestFraction
    split_seed: SplitSeed
    message: CommitMessage = ""


class RowsQuery(Schema):
    """Which rows of a version to show; `offset` counts within the split."""

    offset: int = Field(default=0, ge=0, le=2**63 - 1)
    limit: int = Field(default=50, ge=1, le=200)
    split: Split = "all"


class Message(Schema):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Row(Schema):
    """A row as training and evaluation see it."""

    row_id: int
    #: all that comes before the last answer; a longer conversation as a transcript
    prompt: str
    #: the last answer, or the whole of a plain text
    completion: str
    #: of a preference, the answer that was not chosen
    rejected: str | None = None
    #: empty for a plain text
    messages: list[Message]
    split: Literal["train", "test"]


class RowsPage(Schema):
    """Rows from `offset` on; `total` counts the whole split."""

    items: list[Row]
    offset: int
    total: int
