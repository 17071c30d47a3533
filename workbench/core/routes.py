"""The route contract: declared once, shared by the server's handlers, the OpenAPI document and the typed client.

Five kinds: plain (a sync function in a thread and a transaction, or an async function that opens its own), download (a
sync function that answers with a file), socket (an async stream of messages), events (an async function that answers
with a JSON document or a stream of server-sent events) and upload (a body on disk).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

#: The permission of a route that also strangers may call.
ANYONE = "anyone"

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class UploadedFile:
    """A request body that was streamed to disk; the handler may move the file away."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Download:
    """A file that a download route answers with; browsers save it and never show it."""

    filename: str
    #: Such as `text/html; charset=utf-8`.
    content_type: str
    content: bytes


@dataclass
class Route(Generic[R]):
    """One operation of the API."""

    method: Method
    path: str
    #: `resource:action`, None for a route that every known caller may use, or `ANYONE`.
    permission: str | None
    kind: Literal["plain", "download", "socket", "events", "upload"]
    returns: Any = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    #: How a refusal is told: as RFC 9457 says, or as clients of OpenAI's API expect it.
    errors: Literal["problem", "openai"] = "problem"
    #: Whether an `Idempotency-Key` header makes a repeated call return the first answer.
    idempotent: bool = False
    endpoint: Callable[..., Any] | None = field(default=None, repr=False)
    checker: Callable[..., None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.adapter: TypeAdapter[R] = TypeAdapter(self.returns)
        ROUTES.append(self)

    @property
    def name(self) -> str:
        """The operation's id: slice and function, such as `datasets.show`."""
        if self.endpoint is None:
            raise RuntimeError(f"{self.method} {self.path} has no handler: its slice's api module was not imported")
        return f"{self.endpoint.__module__.split('.')[-2]}.{self.endpoint.__name__}"

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters."""
        return PARAMETER.findall(self.path)

    def url(self, **parameters: str) -> str:
        """Fill the path's parameters in, each as one segment."""
        return PARAMETER.sub(lambda match: quote(parameters[match[1]], safe=""), self.path)

    def pattern(self) -> str:
        """Return the path as a regular expression with named groups."""
        return PARAMETER.sub(lambda match: f"(?P<{match[1]}>[^/]+)", self.path)

    def handler(self, function: F) -> F:
        """Bind the server-side function to this route."""
        self.endpoint = function
        return function

    def check(self, function: F) -> F:
        """Bind a slow check that needs no write: it runs in a read transaction before the handler's begins."""
        self.checker = function
        return function


#: Every route that was declared in this process.
ROUTES: list[Route[Any]] = []


def get(
    path: str,
    *,
    permission: str | None,
    returns: type[R],
    query: type[BaseModel] | None = None,
    errors: Literal["problem", "openai"] = "problem",
) -> Route[R]:
    """Declare a plain GET."""
    return Route("GET", path, permission, "plain", returns=returns, query=query, errors=errors)


def download(path: str, *, permission: str, query: type[BaseModel] | None = None) -> Route[Download]:
    """Declare a GET that answers with a file; its function returns a `Download`."""
    return Route("GET", path, permission, "download", returns=Download, query=query)


def post(
    path: str,
    *,
    permission: str | None,
    returns: type[R],
    body: type[BaseModel] | None = None,
    status: int = 200,
    idempotent: bool = False,
) -> Route[R]:
    """Declare a plain POST."""
    return Route("POST", path, permission, "plain", returns=returns, body=body, status=status, idempotent=idempotent)


def put(path: str, *, permission: str, returns: type[R], body: type[BaseModel]) -> Route[R]:
    """Declare a plain PUT: its body replaces what is there."""
    return Route("PUT", path, permission, "plain", returns=returns, body=body)


def patch(path: str, *, permission: str, returns: type[R], body: type[BaseModel]) -> Route[R]:
    """Declare a plain PATCH: what its body leaves out stays as it is."""
    return Route("PATCH", path, permission, "plain", returns=returns, body=body)


def delete(path: str, *, permission: str | None) -> Route[None]:
    """Declare a plain DELETE, answered with 204."""
    return Route("DELETE", path, permission, "plain", returns=None, status=204)


def upload(path: str, *, permission: str, returns: type[R], query: type[BaseModel]) -> Route[R]:
    """Declare a POST whose body is one file; its description travels in the query."""
    return Route("POST", path, permission, "upload", returns=returns, query=query, status=201)


def socket(path: str, *, permission: str, messages: Any, query: type[BaseModel] | None = None) -> Route[Any]:
    """Declare a WebSocket that sends messages of the given (union) type."""
    return Route("GET", path, permission, "socket", returns=messages, query=query)


def events(
    path: str,
    *,
    permission: str,
    body: type[BaseModel],
    messages: Any,
    errors: Literal["problem", "openai"] = "problem",
) -> Route[Any]:
    """Declare a POST whose async function returns one document, or an async iterator of documents or plain text.

    An iterator becomes a stream of server-sent events, each of which holds one of them.
    """
    return Route("POST", path, permission, "events", returns=messages, body=body, errors=errors)
