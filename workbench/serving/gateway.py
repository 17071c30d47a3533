"""The one way to an engine: streams an answer over its socket, and lets go of it when nobody listens any more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from workbench.core.errors import Invalid, Problem, Unavailable
from workbench.serving.engines import Engine, EngineFailed, Message, Piece, Prompt, Sampling
from workbench.serving.files import ServeFolder
from workbench.serving.rendering import Fitted

MAX_WAITING = 256  # answers of one engine that are made or waited for
DEADLINE = 3600.0  # seconds that one answer may take
TOUCH_INTERVAL = 1.0  # seconds between two notes that a deployment is in use
CONNECT_TIMEOUT = 5.0  # seconds
RENDER_TIMEOUT = 60.0  # seconds; renderings of one deployment wait for each other

_waiting: dict[Path, int] = {}


class TooBusy(Unavailable):
    """Too many answers are waited for."""

    code = "serving.too_busy"


class NotRendered(Invalid):
    """The conversation cannot be put to this model."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self._code = code

    def problem(self) -> Problem:
        """Tell the renderer's own code."""
        told = super().problem()
        return told.model_copy(update={"code": self._code, "type": f"urn:workbench:problem:{self._code}"})


async def render(
    engine: Engine, messages: Sequence[Message], context_length: int, *, max_tokens: int | None, whole: bool
) -> Fitted:
    """Render a conversation beside its engine; raises `NotRendered` with the reason, or `EngineFailed`."""
    asked = {"messages": list(messages), "context_length": context_length, "max_tokens": max_tokens, "whole": whole}
    timeout = aiohttp.ClientTimeout(total=RENDER_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
    connector = aiohttp.UnixConnector(path=str(engine.renderer))
    headers = {"Authorization": f"Bearer {engine.renderer_key}"}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
            session.post("http://renderer/render", json=asked) as response,
        ):
            answer = await response.json()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EngineFailed("The prompt could not be rendered, as the engine is down or busy; try again.") from error
    if response.status != 200:
        raise NotRendered(str(answer["detail"]), str(answer["code"]))
    return Fitted(Prompt(tuple(answer["messages"]), answer["ids"]), answer["left_out"])


async def stream(
    engine: Engine, folder: ServeFolder, prompt: Prompt, sampling: Sampling
) -> AsyncGenerator[Piece, None]:
    """Yield the answer of an engine piece by piece; the last one says how it ended.

    Closing the iterator ends the work upstream. Raises `TooBusy`, `UnsupportedByEngine`, or `EngineFailed` when the
    engine dies or breaks off.
    """
    path, body = engine.request(prompt, sampling)
    if _waiting.get(engine.socket, 0) >= MAX_WAITING:
        raise TooBusy(f"More than {MAX_WAITING} answers of this deployment are waited for; try again shortly.")
    _waiting[engine.socket] = _waiting.get(engine.socket, 0) + 1
    try:
        async with aclosing(_pieces(engine, folder, path, body)) as pieces:
            async for piece in pieces:
                yield piece
                if piece.finish is not None:
                    return
        raise EngineFailed("The engine ended in mid-answer; what it had said is kept. It is started again by itself.")
    finally:
        _waiting[engine.socket] -= 1
        if not _waiting[engine.socket]:
            del _waiting[engine.socket]


async def _pieces(engine: Engine, folder: ServeFolder, path: str, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE, sock_connect=CONNECT_TIMEOUT)
    connector = aiohttp.UnixConnector(path=str(engine.socket))
    headers = {"Authorization": f"Bearer {engine.key}"}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
            session.post(f"http://engine{path}", json=body) as response,
        ):
            if response.status != 200:
                raise EngineFailed(f"The engine refused: {_reason(await response.text())}")
            async with aclosing(_events(response, folder)) as events:
                async for event in events:
                    piece = engine.piece(event)
                    # a model can say NUL, which PostgreSQL keeps in no text
                    yield replace(piece, text=piece.text.replace("\0", "\ufffd"))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        if isinstance(error, asyncio.TimeoutError):
            raise EngineFailed("The engine took longer for this answer than is allowed.") from error
        raise EngineFailed(
            "The engine ended in mid-answer; what it had said is kept. It is started again by itself."
        ) from error


async def _events(response: aiohttp.ClientResponse, folder: ServeFolder) -> AsyncGenerator[dict[str, Any], None]:
    touched = 0.0
    async for line in response.content:
        if time.monotonic() - touched > TOUCH_INTERVAL:
            touched = time.monotonic()
            with suppress(FileNotFoundError):
                folder.used.touch()
        data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
        if data and data != b"[DONE]":
            yield json.loads(data)


def _reason(text: str) -> str:
    try:
        told = json.loads(text)
    except ValueError:
        return text[:300]
    error = told.get("error", told.get("detail", told)) if isinstance(told, dict) else told
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
