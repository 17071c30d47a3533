"""Turns declared routes into Tornado handlers: authentication, permission, validation, transaction, answer.

The one place where errors become problem documents.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from tornado import web

from workbench.core.context import ANONYMOUS, Principal, Request, StreamContext
from workbench.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    OpenAIProblem,
    Problem,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    WorkbenchError,
)
from workbench.core.errors import invalid_input as invalid
from workbench.core.ids import new_id
from workbench.core.routes import ANYONE, Download, Route, UploadedFile
from workbench.core.schemas import texts_of
from workbench_server.execution import Server, fetch, once, perform, request_of
from workbench_server.identity import OwnHandler

SECRET_PATHS = ("/api/auth/",)  # below which answers may hold secrets
STALL_TIMEOUT = 30.0  # seconds after which a client that does not read is dropped

logger = logging.getLogger(__name__)


class RouteHandler(OwnHandler, APIHandler):
    """Base of every handler of ours: denies by default, answers errors as problem documents."""

    explains_errors = True

    def initialize(self, server: Server, routes: Mapping[str, Route[Any]]) -> None:
        """Take the server and the routes of this path by method."""
        self.server = server
        self.routes = routes

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate, then check the route's permission, before a body is read."""
        if self.request.method not in self.routes:
            raise web.HTTPError(405)
        self.route = self.routes[self.request.method]
        await super().prepare()
        self.principal = self._permitted(self.route.permission)

    def check_xsrf_cookie(self) -> None:
        """See the base class; what strangers may ask for needs no cookie, and takes its secrets from the body."""
        route = self.routes.get(self.request.method or "")
        if route is None or route.permission != ANYONE:
            super().check_xsrf_cookie()

    def _permitted(self, permission: str | None) -> Principal:
        if self.current_user is None and permission == ANYONE:
            return ANONYMOUS
        if self.current_user is None:
            raise Unauthenticated("No valid token came with the request; send `Authorization: Bearer …`.")
        principal: Principal = self.current_user.principal()
        if permission not in (None, ANYONE) and permission not in principal.permissions:
            raise Forbidden(
                f"This needs the permission {permission}, which {principal.name}’s credential does not have."
            )
        return principal

    def read_query(self) -> BaseModel | None:
        """Validate the query string."""
        if self.route.query is None:
            return None
        try:
            given = {name: values[-1].decode("utf8") for name, values in self.request.query_arguments.items()}
        except UnicodeDecodeError as error:
            raise Invalid("The query is not valid UTF-8.") from error
        if any("\0" in value for value in given.values()):
            raise Invalid("A value in the query holds a NUL character, which cannot be kept.")
        given.pop("token", None)
        given.pop("ticket", None)
        return validated(self.route.query, given, "the query")

    @property
    def asked(self) -> Request:
        """What is known of the request beyond its content."""
        return request_of(self, self.server)

    @property
    def stream_context(self) -> StreamContext:
        """The request for an async function."""
        return StreamContext(self.server.database, self.server.bus, self.principal, self.server.settings, self.asked)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run blocking work in the pool, which is as large as the database pool."""
        return await asyncio.get_running_loop().run_in_executor(self.server.threads, function)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem document."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = describe(error, status_code)
        route = self.routes.get(self.request.method or "")
        openai = route is not None and route.errors == "openai"
        # OpenAI's clients know 400 for what cannot be accepted
        self.set_status(400 if openai and problem.status == Invalid.status else problem.status)
        if problem.status in (Unavailable.status, TooMany.status):
            wait = error.retry_after if isinstance(error, WorkbenchError) else Unavailable.retry_after
            self.set_header("Retry-After", str(wait))
        if openai:
            self.finish(OpenAIProblem.of(problem).model_dump_json(), set_content_type="application/json")
        else:
            self.finish(problem.model_dump_json(), set_content_type="application/problem+json")

    def log_exception(self, typ: Any, value: Any, traceback: Any) -> None:
        """Log what is our fault with its traceback; a caller's mistake is not news."""
        if not isinstance(value, WorkbenchError):
            super().log_exception(typ, value, traceback)

    def answer(self, content: bytes) -> None:
        """Send a JSON document."""
        self.set_status(self.route.status)
        if self.route.status == 204:
            self.finish()
            return
        if self.route.permission == ANYONE or self.route.path.startswith(SECRET_PATHS):
            self.set_header("Cache-Control", "no-store")
        self.finish(content)


class PlainHandler(RouteHandler):
    """Serves plain routes: a sync function in a thread and one transaction, or an async function."""

    async def _serve(self, **parameters: str) -> None:
        arguments: dict[str, Any] = dict(parameters)
        if self.route.query is not None:
            arguments["query"] = self.read_query()
        if self.route.body is not None:
            arguments["body"] = validated(self.route.body, parsed(self.request.body), "the body")
        assert self.route.endpoint is not None
        if inspect.iscoroutinefunction(self.route.endpoint):
            answer = await self.route.endpoint(self.stream_context, **arguments)
            self.answer(self.route.adapter.dump_json(answer))
            return
        key = self.request.headers.get("Idempotency-Key") if self.route.idempotent else None
        request = hashlib.sha256(self.request.path.encode() + b"\0" + self.request.body).hexdigest()
        work = partial(perform, self.server, self.route, self.principal, self.asked, arguments)
        self.answer(await self.run(partial(once, self.server, self.principal, key, request, work)))

    get = allow_unauthenticated(_serve)
    post = allow_unauthenticated(_serve)
    put = allow_unauthenticated(_serve)
    patch = allow_unauthenticated(_serve)
    delete = allow_unauthenticated(_serve)


class DownloadHandler(RouteHandler):
    """Serves download routes: a browser saves the file, and would run nothing in it if it showed it."""

    @allow_unauthenticated
    async def get(self, **parameters: str) -> None:
        """Send the file."""
        arguments: dict[str, Any] = dict(parameters)
        if self.route.query is not None:
            arguments["query"] = self.read_query()
        made: Download = await self.run(partial(fetch, self.server, self.route, self.principal, arguments))
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(made.filename, safe='')}")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
        self.finish(made.content, set_content_type=made.content_type)


class EventsHandler(RouteHandler):
    """Serves events routes: one document, or server-sent events as fast as the client reads them."""

    answering: asyncio.Task[None] | None = None
    gone = False

    @allow_unauthenticated
    async def post(self, **parameters: str) -> None:
        """Answer until the end, or until the client has gone."""
        assert self.route.body is not None
        body = validated(self.route.body, parsed(self.request.body), "the body")
        self.answering = asyncio.create_task(self._answer(body, parameters))
        try:
            await self.answering
        except asyncio.CancelledError:
            if not self.gone:
                raise

    def on_connection_close(self) -> None:
        """Stop answering a client who has gone."""
        self.gone = True
        if self.answering is not None:
            self.answering.cancel()
        super().on_connection_close()

    async def _answer(self, body: BaseModel, parameters: Mapping[str, str]) -> None:
        assert self.route.endpoint is not None
        context = self.stream_context
        answer = await self.route.endpoint(context, body=body, **parameters)
        if not hasattr(answer, "__aiter__"):
            self.finish(self.route.adapter.dump_json(answer))
            return
        async with aclosing(answer) as documents:
            first = await anext(documents)  # what is refused before anything was said is an answer of its own
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-store")
            self.set_header("X-Accel-Buffering", "no")
            await self._send(first)
            try:
                async for document in documents:
                    await self._send(document)
            except WorkbenchError as error:
                await self._send(self._problem(error))
        self.finish()

    async def _send(self, document: Any) -> None:
        text = document if isinstance(document, str) else self.route.adapter.dump_json(document).decode()
        self.write(f"data: {text}\n\n")
        try:
            await asyncio.wait_for(self.flush(), STALL_TIMEOUT)
        except TimeoutError:
            logger.warning("A client of %s does not read; it is dropped.", self.request.path)
            self.request.connection.stream.close()  # type: ignore[union-attr]
            raise asyncio.CancelledError from None

    def _problem(self, error: WorkbenchError) -> str:
        problem = error.problem()
        if self.route.errors == "openai":
            return OpenAIProblem.of(problem).model_dump_json()
        return json.dumps({"error": problem.model_dump()})


@web.stream_request_body
class UploadHandler(PlainHandler):
    """Serves upload routes and the bodiless routes of the same path: the body goes to disk as it comes, hashed."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate and open the file before the first byte is taken."""
        self.path: Path | None = None
        self.size_bytes = 0
        self.request.connection.set_max_body_size(2**63 - 1)  # type: ignore[union-attr]  # counted below
        await super().prepare()
        if self.route.kind != "upload":
            return
        length = self.request.headers.get("Content-Length", "0")
        self._count(int(length) if length.isdecimal() else 0)
        self.size_bytes = 0
        self.query = self.read_query()
        folder = self.server.settings.home / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{new_id('upload')}.part"
        self.file = path.open("wb")
        self.path = path
        self.digest = hashlib.sha256()

    async def data_received(self, chunk: bytes) -> None:
        """Write one piece of the body; a route without an upload has none to keep."""
        if self.path is None:
            return
        self._count(len(chunk))
        self.digest.update(chunk)
        await self.run(partial(self.file.write, chunk))

    @allow_unauthenticated
    async def post(self, **parameters: str) -> None:
        """Hand the whole file to the route."""
        assert self.path is not None
        self.file.close()
        uploaded = UploadedFile(self.path, self.path.stat().st_size, self.digest.hexdigest())
        arguments = {**parameters, "query": self.query, "file": uploaded}
        self.answer(await self.run(partial(perform, self.server, self.route, self.principal, self.asked, arguments)))

    def on_finish(self) -> None:
        """Leave no part behind."""
        self._discard()
        super().on_finish()

    def on_connection_close(self) -> None:
        """Forget an upload whose sender went away."""
        self._discard()
        super().on_connection_close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem, and close: what is left of the body is not read."""
        self.set_header("Connection", "close")
        super().write_error(status_code, **kwargs)

    def _count(self, size: int) -> None:
        self.size_bytes += size
        limit = self.server.settings.max_upload_bytes
        if self.size_bytes > limit:
            raise TooLarge(f"The file is larger than the {limit:,} bytes that this server takes.")

    def _discard(self) -> None:
        if self.path is not None:
            self.file.close()
            self.path.unlink(missing_ok=True)


def parsed(body: bytes) -> Any:
    """Read a JSON body; texts with a NUL character, which one of our databases cannot keep, are refused for both."""
    try:
        value = json.loads(body or b"null")
        holds_nul = b"\\u0000" in body and "\0" in "".join(texts_of(value))
    except (ValueError, RecursionError) as error:
        raise Invalid("The body is not valid JSON.") from error
    if holds_nul:
        raise Invalid("A text in the body holds a NUL character, which cannot be kept.")
    return value


def validated(model: type[BaseModel], value: Any, place: str) -> BaseModel:
    """Check a value against its model; raise `Invalid` naming the fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, place) from error


def describe(error: BaseException | None, status: int) -> Problem:
    """Return the problem document of any error that reached the edge."""
    if isinstance(error, WorkbenchError):
        return error.problem()
    if isinstance(error, DataError | UnicodeEncodeError):
        return Invalid("A value does not fit the database: it is too long, or holds a NUL character.").problem()
    if isinstance(error, IntegrityError | StaleDataError):
        return Conflict("Another request changed the same thing at the same time; try again.").problem()
    title = web.HTTPError(status).__str__().partition(": ")[2] or "Error"
    known = error.log_message if isinstance(error, web.HTTPError) and error.log_message and status < 500 else None
    detail = known or ("The server failed to answer; its log says why." if status >= 500 else f"{title}.")
    code = f"http.{status}" if status < 500 else "internal"
    return Problem(
        type=f"urn:workbench:problem:{code}", title=title, status=status, code=code, detail=detail, message=detail
    )
