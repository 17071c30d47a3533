"""Answers: finds the engine, renders the prompt, streams the pieces, and keeps what a conversation is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from workbench.accounts import audit
from workbench.chat import openai, prompt, schemas, service
from workbench.chat.journal import Journal
from workbench.core.context import Context, StreamContext
from workbench.core.database import Database
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.core.settings import Settings
from workbench.serving import gateway
from workbench.serving import service as serving
from workbench.serving.engines import Engine, Finish, Message, Piece, Prompt, Sampling
from workbench.serving.files import ServeFolder
from workbench.serving.schemas import Deployment

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """The engine that shall answer, and what it shall answer to."""

    deployment: Deployment
    engine: Engine
    folder: ServeFolder
    settings: schemas.ChatSettings
    messages: Sequence[Message]


@dataclass(frozen=True)
class Request:
    """All that is needed to ask an engine."""

    deployment: Deployment
    engine: Engine
    folder: ServeFolder
    prompt: Prompt
    sampling: Sampling
    settings: schemas.ChatSettings
    left_out: int


@dataclass
class Answer:
    """An answer as it grows."""

    text: str = ""
    tokens: int = 0
    finish: schemas.Finish = "cancelled"
    error: str | None = None
    begun: float = field(default_factory=time.monotonic)
    first: float | None = None

    def add(self, text: str) -> None:
        """Take some more text."""
        if text and self.first is None:
            self.first = time.monotonic() - self.begun
        self.text += text


class StopStrings:
    """Ends an answer before any of the texts that shall end it, and holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""

    def take(self, text: str) -> tuple[str, bool]:
        """Return what may be said now, and whether the answer is over."""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            return self._held[: min(places)], True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said, False

    def rest(self) -> str:
        """Return what was held back, when the answer has ended otherwise."""
        return self._held

    def _overlap(self, stop: str) -> int:
        lengths = range(min(len(stop) - 1, len(self._held)), 0, -1)
        return next((length for length in lengths if self._held.endswith(stop[:length])), 0)


async def complete(
    context: StreamContext, body: openai.CompletionRequest
) -> openai.Completion | AsyncIterator[openai.Chunk | str]:
    """Answer a request of OpenAI's protocol, whole or as a stream; keeps nothing."""
    target = await asyncio.to_thread(_in_session, context, lambda session: target_of_completion(session, body))
    request = await _request(target, whole=True)
    identity, created = new_id("chatcmpl"), openai.now()
    if body.stream:
        wants_usage = body.stream_options is not None and body.stream_options.include_usage
        return _chunks(request, identity, created, wants_usage)
    answer = Answer()
    async for _ in said(request, answer):
        pass
    choice = openai.Choice(message=openai.Answer(content=answer.text), finish_reason=_ending(answer))
    used = openai.usage(len(request.prompt.ids), answer.tokens)
    return openai.Completion(id=identity, created=created, model=request.deployment.model, choices=[choice], usage=used)


async def _chunks(
    request: Request, identity: str, created: int, wants_usage: bool
) -> AsyncIterator[openai.Chunk | str]:
    model, answer = request.deployment.model, Answer()
    async with aclosing(said(request, answer)) as texts:
        first = await anext(texts, None)  # an engine that refuses does so before the stream begins
        yield openai.chunk(identity, model, created, delta={"role": "assistant", "content": ""})
        if first is not None:
            yield openai.chunk(identity, model, created, delta={"content": first})
        async for text in texts:
            yield openai.chunk(identity, model, created, delta={"content": text})
    yield openai.chunk(identity, model, created, delta={}, finish_reason=_ending(answer))
    if wants_usage:
        used = openai.usage(len(request.prompt.ids), answer.tokens)
        yield openai.Chunk(id=identity, created=created, model=model, choices=[], usage=used)
    yield "[DONE]"


async def reply(
    context: StreamContext, conversation_id: str, wanted: schemas.MessageCreate
) -> AsyncIterator[schemas.StartedEvent | schemas.DeltaEvent | schemas.EndedEvent]:
    """Keep what was said, stream the answer, and keep it however it ends."""

    def find(session: Context) -> Target:
        messages = service.path(session, conversation_id, wanted)
        return target_of(session, wanted.model, messages, wanted.settings)

    request = await _request(await asyncio.to_thread(_in_session, context, find), whole=False)
    beginning = asyncio.ensure_future(asyncio.to_thread(_begin, context, conversation_id, wanted, request))
    try:
        started, journal = await asyncio.shield(beginning)
    except asyncio.CancelledError:
        started, journal = await beginning  # the thread goes on: what it began is ended
        await asyncio.to_thread(_end, context, started.answer.id, request, Answer())
        journal.end()
        raise
    return _reply(context, request, started, journal)


def recover(database: Database, settings: Settings) -> None:
    """Keep what servers that were killed had said: each answer that nobody writes any more ends as interrupted."""
    left = [Journal(settings.home, file.stem) for file in (settings.home / "chat").glob("*.jsonl")]
    left = [journal for journal in left if not journal.is_written()]
    if not left:
        return
    with database.write() as session:
        for journal in left:
            service.interrupt(session, journal.path.stem, journal.text())
    for journal in left:
        journal.path.unlink(missing_ok=True)


async def _reply(
    context: StreamContext, request: Request, started: schemas.StartedEvent, journal: Journal
) -> AsyncIterator[schemas.StartedEvent | schemas.DeltaEvent | schemas.EndedEvent]:
    answer = Answer()
    kept: schemas.Message | None = None
    try:
        yield started
        async with aclosing(said(request, answer)) as texts:
            async for text in texts:
                journal.add(text)
                yield schemas.DeltaEvent(text=text)
    except WorkbenchError as error:
        answer.finish, answer.error = "error", error.detail
    finally:
        # whoever listens may be gone, and this task cancelled: the answer is kept all the same
        kept = await asyncio.shield(asyncio.to_thread(_end, context, started.answer.id, request, answer))
        journal.end()
    if kept is not None:
        yield schemas.EndedEvent(answer=kept)


async def said(request: Request, answer: Answer) -> AsyncGenerator[str, None]:
    """Yield the texts of an answer as they come, and let `answer` grow with them."""
    stops = StopStrings(request.settings.stop or ())
    pieces = gateway.stream(request.engine, request.folder, request.prompt, request.sampling)
    async with aclosing(pieces) as coming:
        async for piece in coming:
            text, over = stops.take(piece.text + _torn(request.engine, piece, answer.tokens))
            answer.tokens = piece.tokens if piece.tokens is not None else answer.tokens
            if piece.finish is not None and not over:
                text += stops.rest()
            answer.add(text)
            if over or piece.finish is not None:
                answer.finish = _finish(piece, over)
            if text:
                yield text
            if over:
                return


def target_of_completion(context: Context, body: openai.CompletionRequest) -> Target:
    """Find the engine for a request of OpenAI's protocol."""
    messages: list[Message] = [message.plain() for message in body.messages]
    return target_of(context, body.model, messages, body.settings())


def target_of(context: Context, model: str, messages: Sequence[Message], wanted: schemas.ChatSettings) -> Target:
    """Find the engine for a conversation, with the settings in force."""
    deployment = serving.served(context, model)
    settings = service.settings_in_force(context, deployment, wanted)
    if settings.system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": settings.system}, *messages]
    return Target(deployment, *serving.engine(context, deployment), settings, messages)


async def _request(target: Target, *, whole: bool) -> Request:
    """Render the prompt; what its engine cannot do is refused before anything is kept."""
    length = target.deployment.context_length or target.deployment.spec.context_length
    limit = target.settings.max_tokens
    fitted = await gateway.render(target.engine, target.messages, length, max_tokens=limit, whole=whole)
    chosen = prompt.sampling(target.settings, length - len(fitted.prompt.ids))
    target.engine.request(fitted.prompt, chosen)
    return Request(
        target.deployment, target.engine, target.folder, fitted.prompt, chosen, target.settings, fitted.left_out
    )


def _begin(
    context: StreamContext, conversation_id: str, wanted: schemas.MessageCreate, request: Request
) -> tuple[schemas.StartedEvent, Journal]:
    with context.write() as writing:
        audit.record(writing.session, context.user, "chat.say", conversation_id, address=context.request.address)
        started = service.begin(writing, conversation_id, wanted, request.deployment, request.settings)
        journal = Journal(context.settings.home, started.answer.id)
        journal.begin()  # before the commit: a row without a writer is one whose server has ended
    return started, journal


def _end(context: StreamContext, message_id: str, request: Request, answer: Answer) -> schemas.Message | None:
    with context.write() as writing:
        return service.end(
            writing,
            message_id,
            content=answer.text,
            finish_reason=answer.finish,
            error=answer.error,
            prompt_tokens=len(request.prompt.ids),
            completion_tokens=answer.tokens,
            first_token_seconds=answer.first,
            seconds=time.monotonic() - answer.begun,
            left_out=request.left_out,
        )


def _in_session(context: StreamContext, work: Callable[[Context], T]) -> T:
    with context.read() as reading:
        return work(reading)


def _torn(engine: Engine, piece: Piece, told: int) -> str:
    """Return what stands for a character that the end of the answer has torn.

    llama.cpp holds the first bytes of a character back, and says nothing of them at the end.
    """
    if engine.name != "llama.cpp" or piece.finish is None or piece.tokens is None:
        return ""
    return "\ufffd" if piece.tokens - piece.ended_by_token > told else ""


def _finish(piece: Piece, over: bool) -> Finish:
    return "stop" if over or piece.finish is None else piece.finish


def _ending(answer: Answer) -> Finish:
    return "length" if answer.finish == "length" else "stop"
