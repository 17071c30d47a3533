"""Shapes that every slice's contract uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

T = TypeVar("T")

#: An RFC 3339 UTC time on the wire, an aware datetime in Python.
Time = AwareDatetime
#: A display name; never used as a path.
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^\w[\w .\-]*$")]

PRIVATE, EVERYONE = "private", "everyone"
#: Who sees a thing beside its owner: nobody, every member, or a team by its id.
Audience = Annotated[str, Field(pattern=r"^(private|everyone|team_[0-9a-z]{26})$")]


class Schema(BaseModel):
    """A frozen value of the contract; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Schema, Generic[T]):
    """One page of a list."""

    items: list[T]
    #: Give it as `cursor` to get the next page; None on the last one.
    next_cursor: str | None = None


class Sharing(Schema):
    """Who shall see a thing beside its owner."""

    audience: Audience = Field(description="`private`, `everyone`, or a team's id.")


class PageQuery(Schema):
    """How much of a list to return."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Health(Schema):
    """Liveness of the server, and what it stands on."""

    status: Literal["ok"] = "ok"
    version: str
    database: Literal["sqlite", "postgresql"]
    home: str
    #: Whether an agent keeps this home's queue moving.
    agent: Literal["running", "absent", "unresponsive"]


class Ref(Schema):
    """A thing in some slice: `Ref(kind="dataset_version", id="dsv_01…")`."""

    kind: str
    id: str


class Edge(Schema):
    """One step of a lineage."""

    source: Ref
    target: Ref
    relation: str


class Node(Ref):
    """A thing in a lineage, as people call it."""

    label: str
    #: What else helps to recognise it, such as its state or size; may be empty.
    detail: str


class Lineage(Schema):
    """All that a thing came from, and all that came from it; the thing itself is the first node."""

    nodes: list[Node]
    edges: list[Edge]


def texts_of(document: Any) -> Iterator[str]:
    """Yield every text of a JSON document, names included."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for name, inner in document.items():
            yield name
            yield from texts_of(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from texts_of(inner)
