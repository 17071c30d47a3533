from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

from workbench.core import http as module
from workbench.core import routes
from workbench.core.engines import DatabaseAway
from workbench.core.errors import NotFound, RemoteError
from workbench.core.http import HTTP, ServerUnreachable
from workbench.core.schemas import Page, Schema, Time


class Thing(Schema):
    id: str
    at: Time


class Query(Schema):
    limit: int = 50
    name: str | None = None


class Metric(Schema):
    type: Literal["metric"] = "metric"
    loss: float


class State(Schema):
    type: Literal["state"] = "state"
    state: str


Message = Annotated[Metric | State, Field(discriminator="type")]
THING = Thing.model_validate({"id": "t/1", "at": "2026-11-22T10:00:00Z"})


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answers:
    """What the server says next, and what it was asked."""

    status: int = 200
    body: bytes = b"null"
    #: Said before that, one at a time.
    first: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, answers: Answers, *arguments: object) -> None:
        self.answers = answers
        super().__init__(*arguments)  # type: ignore[arg-type]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answers.requests.append(Request(self.command, self.path, dict(self.headers), body))
        status, content = self.answers.first.pop(0) if self.answers.first else (self.answers.status, self.answers.body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def http(answers: Answers) -> Iterator[HTTP]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, answers)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        client = HTTP(f"http://127.0.0.1:{server.server_port}/user/ada/", "sesame")
        yield client
        client.close()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ROUTES", [])


@pytest.fixture
def show() -> routes.Route[Thing]:
    return routes.get("/api/things/{thing_id}", permission=None, returns=Thing, query=Query)


def test_a_call_returns_the_routes_type(http: HTTP, answers: Answers, show: routes.Route[Thing]) -> None:
    answers.body = THING.model_dump_json().encode()
    assert http.call(show, thing_id="t/1") == THING
    (request,) = answers.requests
    assert (request.method, request.path) == ("GET", "/user/ada/api/things/t%2F1")
    assert request.headers["Authorization"] == "Bearer sesame"


def test_a_query_leaves_out_what_is_not_given(http: HTTP, answers: Answers, show: routes.Route[Thing]) -> None:
    answers.body = THING.model_dump_json().encode()
    http.call(show, query=Query(), thing_id="a")
    http.call(show, query=Query(name="a b&c", limit=3), thing_id="a")
    assert [request.path.partition("?")[2] for request in answers.requests] == ["limit=50", "limit=3&name=a+b%26c"]


def test_a_post_sends_its_body_as_json_with_its_key(http: HTTP, answers: Answers) -> None:
    create = routes.post("/api/things", permission="a:b", body=Thing, returns=Page[Thing], idempotent=True)
    answers.body = Page[Thing](items=[THING]).model_dump_json().encode()
    assert http.call(create, body=THING, idempotency_key="k1").items == [THING]
    (request,) = answers.requests
    assert json.loads(request.body) == json.loads(THING.model_dump_json())
    assert (request.headers["Content-Type"], request.headers["Idempotency-Key"]) == ("application/json", "k1")


def test_an_answer_without_content_is_none(http: HTTP, answers: Answers) -> None:
    answers.status, answers.body = 204, b""
    assert http.call(routes.delete("/api/things", permission="a:b")) is None


AWAY = (503, DatabaseAway().problem().model_dump_json().encode())


def test_while_the_database_is_away_what_can_be_sent_again_is(
    http: HTTP, answers: Answers, show: routes.Route[Thing]
) -> None:
    create = routes.post("/api/things", permission="a:b", body=Thing, returns=Thing, idempotent=True)
    answers.body, answers.first = THING.model_dump_json().encode(), [AWAY, AWAY]
    assert http.call(show, thing_id="a") == THING
    answers.first = [AWAY]
    assert http.call(create, body=THING, idempotency_key="k") == THING
    assert len(answers.requests) == 5
    answers.first = [AWAY]
    with pytest.raises(RemoteError, match="does not answer"):
        http.call(create, body=THING)
    assert len(answers.requests) == 6


def test_patience_ends(
    http: HTTP, answers: Answers, show: routes.Route[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    answers.status, answers.body = AWAY
    with pytest.raises(RemoteError, match="does not answer"):
        http.call(show, thing_id="a")


def test_a_problem_becomes_a_remote_error(http: HTTP, answers: Answers, show: routes.Route[Thing]) -> None:
    sent = NotFound("There is no thing 7.").problem()
    answers.status, answers.body = 404, sent.model_dump_json().encode()
    with pytest.raises(RemoteError, match=r"There is no thing 7\.") as caught:
        http.call(show, thing_id="7")
    assert caught.value.problem() == sent


def test_a_refusal_without_a_problem_document_still_says_its_status(
    http: HTTP, answers: Answers, show: routes.Route[Thing]
) -> None:
    answers.status, answers.body = 502, b"<html>Bad gateway</html>"
    with pytest.raises(RemoteError, match="status 502") as caught:
        http.call(show, thing_id="7")
    assert caught.value.problem().status == 502


def test_an_upload_streams_the_file_and_tells_its_progress(http: HTTP, answers: Answers, tmp_path: Path) -> None:
    upload = routes.upload("/api/things", permission="a:b", returns=Thing, query=Query)
    answers.body = THING.model_dump_json().encode()
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    told: list[int] = []
    assert http.upload(upload, tmp_path / "file", query=Query(name="n"), progress=told.append) == THING
    (request,) = answers.requests
    assert request.body == content
    assert request.headers["Content-Length"] == str(len(content))
    assert told == sorted(told)
    assert told[-1] == len(content)


def test_a_server_that_is_away_is_said_to_be(show: routes.Route[Thing]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = HTTP(f"http://127.0.0.1:{port}/", "sesame")
        with pytest.raises(ServerUnreachable, match=f"at http://127.0.0.1:{port} does not answer"):
            client.call(show, thing_id="1")
        with pytest.raises(ServerUnreachable, match="does not answer"):
            list(client.stream(stream_route()))
        client.close()


def test_the_token_is_not_shown() -> None:
    client = HTTP("http://127.0.0.1:1/", "sesame")
    assert "sesame" not in repr(client)
    client.close()


def stream_route() -> routes.Route[Message]:
    return routes.socket("/ws/things", permission=None, messages=Message, query=Query)


@contextmanager
def streaming(
    talk: Callable[[ServerConnection], None],
    greet: Callable[[ServerConnection, Handshake], Response | None] | None = None,
) -> Iterator[HTTP]:
    with serve(talk, "127.0.0.1", 0, process_request=greet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = HTTP(f"http://127.0.0.1:{server.socket.getsockname()[1]}", "sesame")
        yield client
        client.close()
        server.shutdown()
        thread.join()


def test_a_stream_yields_typed_messages_until_its_end() -> None:
    def talk(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked = [connection.request.path, connection.request.headers["Authorization"]]
        for message in (State(state=" ".join(asked)), Metric(loss=0.5)):
            connection.send(message.model_dump_json())

    with streaming(talk) as client:
        messages = list(client.stream(stream_route(), query=Query(name="a")))
    assert messages == [State(state="/ws/things?limit=50&name=a Bearer sesame"), Metric(loss=0.5)]


def test_a_refused_stream_says_why() -> None:
    with streaming(lambda connection: connection.close(4404, "There is no such job.")) as client:
        with pytest.raises(RemoteError, match="There is no such job") as caught:
            list(client.stream(stream_route()))
        assert caught.value.problem().status == 404


def test_a_stream_that_cannot_be_had_at_the_moment_is_as_good_as_a_server_that_is_away() -> None:
    """Whoever follows one begins again by itself then."""
    with (
        streaming(lambda connection: connection.close(4503, "The database does not answer.")) as client,
        pytest.raises(ServerUnreachable, match="database"),
    ):
        list(client.stream(stream_route()))


def test_a_stream_refused_at_the_door_says_why() -> None:
    problem = NotFound("There is no thing 7.").problem()

    def greet(connection: ServerConnection, request: Handshake) -> Response:
        return connection.respond(404, problem.model_dump_json())

    with streaming(lambda _: None, greet) as client, pytest.raises(RemoteError) as caught:
        list(client.stream(stream_route()))
    assert caught.value.problem() == problem


@pytest.mark.parametrize("code", [1001, 1011])
def test_a_stream_that_ends_before_its_end_is_not_a_success(code: int) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(Metric(loss=1).model_dump_json())
        connection.close(code)

    with streaming(talk) as client:
        stream = client.stream(stream_route())
        assert next(stream) == Metric(loss=1)
        with pytest.raises(ServerUnreachable, match="before its end"):
            next(stream)


def test_a_stream_that_is_cut_is_not_a_success() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(Metric(loss=1).model_dump_json())
        connection.socket.shutdown(socket.SHUT_RDWR)

    with streaming(talk) as client:
        stream = client.stream(stream_route())
        assert next(stream) == Metric(loss=1)
        with pytest.raises(ServerUnreachable):
            next(stream)


def test_a_server_that_hangs_up_while_greeting_is_unreachable() -> None:
    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        client = HTTP(f"http://127.0.0.1:{listener.getsockname()[1]}", "sesame")
        with pytest.raises(ServerUnreachable, match="does not answer"):
            list(client.stream(stream_route()))
        thread.join()
        client.close()
