"""The gateway on a real socket: answers, engines that refuse, die or hang, and readers who go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from workbench.serving import gateway
from workbench.serving.engines import Engine, EngineFailed, Piece, Prompt, Sampling, UnsupportedByEngine, socket_path
from workbench.serving.files import ServeFolder

PROMPT = Prompt(({"role": "user", "content": "Hi"},), [1, 2, 3])
SAMPLING = Sampling(0.0, 1.0, 0, 0.0, 8, 1.0, 0.0, 0.0, None)
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine(folder: Path, serve: Serve, name: Any = "llama.cpp") -> AsyncIterator[tuple[Engine, ServeFolder]]:
    app = web.Application()
    app.router.add_post("/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    path = socket_path(folder)
    await web.UnixSite(runner, str(path)).start()
    files = ServeFolder(folder)
    files.used.touch()
    try:
        yield Engine(name, path, "key", "/model", path, "key"), files
    finally:
        await runner.cleanup()


async def said(found: tuple[Engine, ServeFolder]) -> list[Piece]:
    return [piece async for piece in gateway.stream(*found, PROMPT, SAMPLING)]


async def events(request: web.Request, *documents: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for document in documents:
        await response.write(f"data: {json.dumps(document)}\n\n".encode())
    return response


def test_an_answer_comes_piece_by_piece_for_the_very_tokens(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer key"
        asked.append(await request.json())
        done = {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 3}
        first, second = {"content": "a", "tokens_predicted": 1}, {"content": "bc", "tokens_predicted": 2}
        return await events(request, first, second, done)

    async def run() -> list[Piece]:
        async with engine(tmp_path, serve) as found:
            return await said(found)

    assert asyncio.run(run()) == [Piece("a", 1), Piece("bc", 2), Piece("", 3, "stop", True)]
    assert (asked[0]["prompt"], asked[0]["temperature"], asked[0]["top_k"]) == ([1, 2, 3], 0.0, 1)


def test_a_nul_that_a_model_says_becomes_the_replacement_character(tmp_path: Path) -> None:
    """PostgreSQL keeps none in a text, and what is kept is what was shown."""

    async def serve(request: web.Request) -> web.StreamResponse:
        done = {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 1}
        return await events(request, {"content": "a\0b", "tokens_predicted": 1}, done)

    async def run() -> list[Piece]:
        async with engine(tmp_path, serve) as found:
            return await said(found)

    assert asyncio.run(run())[0].text == "a\ufffdb"


def test_the_transformers_engine_is_asked_in_its_own_way(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        last = {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": {"completion_tokens": 2}}
        return await events(request, {"choices": [{"delta": {"content": "ab"}}]}, last)

    async def run() -> list[Piece]:
        async with engine(tmp_path, serve, "transformers") as found:
            return await said(found)

    assert asyncio.run(run()) == [Piece("ab"), Piece("", 2, "length")]
    assert json.loads(asked[0]["generation_config"])["do_sample"] is False
    assert asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_what_an_engine_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    wanted = Sampling(1.0, 1.0, 0, 0.0, 8, 1.0, 0.5, 0.0, None)
    with pytest.raises(UnsupportedByEngine, match="presence_penalty"):
        Engine("transformers", tmp_path, "key", "model", tmp_path, "key").request(PROMPT, wanted)


@pytest.mark.parametrize("ending", ["breaks off", "dies", "refuses", "says an error"])
def test_an_engine_that_fails_is_told_in_a_sentence(ending: str, tmp_path: Path) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        if ending == "refuses":
            return web.json_response({"error": {"message": "too long"}}, status=400)
        if ending == "says an error":
            return await events(request, {"error": {"message": "out of memory"}})
        response = await events(request, {"content": "a", "tokens": [5]})
        if ending == "dies":
            assert request.transport is not None
            request.transport.abort()
        return response

    async def run() -> None:
        async with engine(tmp_path, serve) as found:
            await said(found)

    with pytest.raises(EngineFailed) as caught:
        asyncio.run(run())
    words = {"refuses": "too long", "says an error": "out of memory"}
    assert words.get(ending, "mid-answer") in caught.value.detail


def test_no_engine_at_all_is_told_in_a_sentence(tmp_path: Path) -> None:
    missing = Engine("llama.cpp", tmp_path / "none.sock", "key", "model", tmp_path / "none.sock", "key")
    with pytest.raises(EngineFailed):
        asyncio.run(said((missing, ServeFolder(tmp_path))))


def test_the_engine_is_let_go_when_nobody_listens_any_more(tmp_path: Path) -> None:
    async def run() -> bool:
        let_go = asyncio.Event()

        async def serve(request: web.Request) -> web.StreamResponse:
            response = await events(request, {"content": "a", "tokens": [5]})
            try:
                while True:
                    await asyncio.sleep(0.01)
                    await response.write(b'data: {"content": "b", "tokens": [6]}\n\n')
            finally:
                let_go.set()

        async with engine(tmp_path, serve) as found:
            async with aclosing(gateway.stream(*found, PROMPT, SAMPLING)) as pieces:
                await anext(pieces)
            await asyncio.wait_for(let_go.wait(), 5)
        return let_go.is_set()

    assert asyncio.run(run())
    assert gateway._waiting == {}


def test_more_than_can_be_waited_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_WAITING", 1)

    async def run() -> None:
        async def serve(request: web.Request) -> web.StreamResponse:
            return await events(request, {"content": "a", "tokens": [5]}, {"content": "b", "tokens": [6]})

        async with engine(tmp_path, serve) as found, aclosing(gateway.stream(*found, PROMPT, SAMPLING)) as pieces:
            await anext(pieces)
            await said(found)

    with pytest.raises(gateway.TooBusy):
        asyncio.run(run())


def test_a_stale_socket_is_removed_and_a_strangers_folder_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = socket_path(tmp_path)
    path.touch()
    assert socket_path(tmp_path) == path
    assert not path.exists()
    path.parent.chmod(0o777)
    with pytest.raises(EngineFailed, match="alone"):
        socket_path(tmp_path)
