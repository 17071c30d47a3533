"""The typed HTTP client that panels, notebooks and commands use. It knows routes, not slices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ValidationError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from workbench.core.errors import Problem, RemoteError, Unavailable, WorkbenchError
from workbench.core.routes import Download, Route

R = TypeVar("R")
CHUNK_BYTES = 1 << 20
NORMAL_CLOSURE = 1000
REFUSED = 4000  # close codes above it are REFUSED + HTTP status
#: What the server answers while its database cannot.
DATABASE_AWAY = ("database.away", "database.busy")
PATIENCE = 15.0  # seconds
TIMEOUT = httpx.Timeout(30.0, write=300.0)  # seconds
EVENTS = httpx.Timeout(30.0, read=3600.0)  # seconds; an answer may have to wait for its turn


class ServerUnreachable(Unavailable):
    """The workbench server does not answer."""

    code = "server.unreachable"


class HTTP:
    """A connection to one workbench server.

    `url` is the server's base URL, such as `http://127.0.0.1:8888/`; `token` a Jupyter, kernel, job or personal token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=self._headers, timeout=TIMEOUT)

    def __repr__(self) -> str:
        return f"HTTP({self.url!r})"

    def call(
        self,
        route: Route[R],
        *,
        body: BaseModel | None = None,
        query: BaseModel | None = None,
        idempotency_key: str | None = None,
        **parameters: str,
    ) -> R:
        """Call a plain route and return its typed answer; raise `RemoteError` when the server refuses."""
        partial = route.method == "PATCH"  # what is left out stays as it is
        content = body.model_dump_json(exclude_unset=partial).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return self._send(route, route.url(**parameters), query, content, headers)

    def upload(
        self,
        route: Route[R],
        path: Path,
        *,
        query: BaseModel,
        progress: Callable[[int], None] | None = None,
        **parameters: str,
    ) -> R:
        """Send a file to an upload route; `progress` is told the bytes sent so far."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        return self._send(route, route.url(**parameters), query, _chunks(path, progress), headers)

    def download(self, route: Route[Download], *, query: BaseModel | None = None, **parameters: str) -> Download:
        """Fetch the file that a download route answers with."""
        response = self._request(route, route.url(**parameters), query, None, {})
        named = Message()
        named["Content-Disposition"] = response.headers["Content-Disposition"]
        return Download(named.get_filename() or "download", response.headers["Content-Type"], response.content)

    def stream(self, route: Route[R], *, query: BaseModel | None = None, **parameters: str) -> Iterator[R]:
        """Follow a socket route until the server ends it; yields its typed messages."""
        url = self.url.replace("http", "ws", 1) + route.url(**parameters) + _query_string(query)
        try:
            connected = connect(url, additional_headers=self._headers, max_size=2**24)
            with connected as connection, suppress(ConnectionClosed):
                for message in connection:
                    yield route.adapter.validate_json(message)
        except InvalidStatus as error:
            raise _refusal(_problem(error.response.status_code, bytes(error.response.body))) from error
        except (OSError, InvalidHandshake) as error:
            raise ServerUnreachable(f"The workbench server at {self.url} does not answer: {error}.") from error
        _check_close(connection.close_code, connection.close_reason)

    def events(self, route: Route[R], *, body: BaseModel, **parameters: str) -> Iterator[R]:
        """Call an events route and yield its typed documents; closing the iterator tells the server to stop."""
        url = self.url + route.url(**parameters)
        headers = {"Content-Type": "application/json"}
        content = body.model_dump_json().encode()
        try:
            with self._client.stream(route.method, url, content=content, headers=headers, timeout=EVENTS) as response:
                if not response.is_success:
                    response.read()
                    raise RemoteError(_problem(response.status_code, response.content))
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield self._document(route, line.removeprefix("data: "))
        except httpx.TransportError as error:
            raise ServerUnreachable(f"The workbench server at {self.url} does not answer: {error}.") from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def _document(self, route: Route[R], text: str) -> R:
        if text.startswith('{"error"'):
            raise RemoteError(Problem.model_validate(json.loads(text)["error"]))
        return route.adapter.validate_json(text)

    def _send(self, route: Route[R], path: str, query: BaseModel | None, content: Any, headers: dict[str, str]) -> R:
        response = self._request(route, path, query, content, headers)
        return route.adapter.validate_json(response.content or b"null")

    def _request(
        self, route: Route[Any], path: str, query: BaseModel | None, content: Any, headers: dict[str, str]
    ) -> httpx.Response:
        """Send a request; while the database is away, one that can be sent again is, for `PATIENCE` seconds."""
        url = self.url + path + _query_string(query)
        repeatable = route.method == "GET" or "Idempotency-Key" in headers
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                response = self._client.request(route.method, url, content=content, headers=headers)
            except httpx.TransportError as error:
                raise ServerUnreachable(f"The workbench server at {self.url} does not answer: {error}.") from error
            if response.is_success:
                return response
            problem = _problem(response.status_code, response.content)
            wait = float(response.headers.get("Retry-After", "1"))
            if not (repeatable and problem.code in DATABASE_AWAY and time.monotonic() + wait < deadline):
                raise RemoteError(problem)
            time.sleep(wait)


def _query_string(query: BaseModel | None) -> str:
    values = query.model_dump(mode="json", exclude_none=True) if query is not None else {}
    return f"?{urlencode(values)}" if values else ""


def _chunks(path: Path, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    sent = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            yield block
            sent += len(block)
            if progress is not None:
                progress(sent)


def _check_close(code: int | None, reason: str | None) -> None:
    """Tell a stream that has ended from one that was refused or cut off."""
    if code is not None and code >= REFUSED:
        raise _refusal(_bare_problem(code - REFUSED, reason or "The server refused the stream."))
    if code != NORMAL_CLOSURE:
        raise ServerUnreachable("The workbench server ended the stream before its end.")


def _refusal(problem: Problem) -> WorkbenchError:
    """Return what a refused stream means: one that cannot be had at the moment is as good as a server that is away."""
    return ServerUnreachable(problem.detail) if problem.status == Unavailable.status else RemoteError(problem)


def _problem(status: int, content: bytes | None) -> Problem:
    try:
        return Problem.model_validate_json(content or b"")
    except ValidationError:
        return _bare_problem(status, f"The server answered with status {status} and no problem document.")


def _bare_problem(status: int, detail: str) -> Problem:
    return Problem(type="about:blank", title="Refused", status=status, code="http", detail=detail, message=detail)
