"""From a conversation to what an engine is asked: the same tokens as in training, within the model's context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.chat.schemas import ChatSettings
from workbench.core.errors import Invalid
from workbench.inference.template import ChatTemplate
from workbench.serving.engines import Message, Prompt, Sampling

DEFAULT_MAX_TOKENS = 1024
LEAST_ROOM = 4  # the answer gets a quarter of the context at least, unless its limit is lower
KEPT_TEMPLATES = 16


class ContextExceeded(Invalid):
    """The conversation is longer than the model can see."""

    code = "context_length_exceeded"


@dataclass(frozen=True)
class Fitted:
    """A prompt, and how many messages had to go."""

    prompt: Prompt
    left_out: int


@lru_cache(maxsize=KEPT_TEMPLATES)
def template_of(folder: Path) -> ChatTemplate:
    """Read a version's template and tokenizer once."""
    return ChatTemplate.from_folder(folder)


@lru_cache(maxsize=KEPT_TEMPLATES)
def defaults_of(folder: Path) -> ChatSettings:
    """Return what a model's own generation_config.json says; what it does not say or says wrongly is left open."""
    try:
        said = dict(json.loads((folder / "generation_config.json").read_bytes()))
    except (FileNotFoundError, ValueError):
        return ChatSettings()
    if said.get("do_sample") is False:
        return ChatSettings()
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    given = {name: said[name] for name in names if isinstance(said.get(name), int | float)}
    return ChatSettings.model_validate(given) if _is_valid(given) else ChatSettings()


def fit(template: ChatTemplate, messages: Sequence[Message], context_length: int, max_tokens: int | None) -> Fitted:
    """Render a conversation; where it is too long, leave the oldest turns out.

    A leading system message and the last message stay; what goes, goes in whole turns, so that what is left begins with
    a user's message. Raises `ContextExceeded` when even that is too long.
    """
    room = context_length - min(max_tokens or DEFAULT_MAX_TOKENS, context_length // LEAST_ROOM)
    system = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(system) :])
    left_out = 0
    while True:
        ids = template.prompt_ids([*system, *rest])
        if len(ids) <= room:
            kept = (*system, *rest)
            return Fitted(Prompt(kept, ids), left_out)
        turn = next((place for place in range(1, len(rest)) if rest[place]["role"] == "user"), None)
        if turn is None:
            raise ContextExceeded(
                f"The message has {len(ids):,} tokens with all that belongs to it, and {room:,} fit before the answer;"
                " shorten it, or deploy the model with a greater context_length."
            )
        rest, left_out = rest[turn:], left_out + turn


def whole(template: ChatTemplate, messages: Sequence[Message], context_length: int) -> Prompt:
    """Render a conversation and leave nothing out; raises `ContextExceeded`."""
    ids = template.prompt_ids(messages)
    if len(ids) >= context_length:
        raise ContextExceeded(
            f"The messages have {len(ids):,} tokens, and the model sees {context_length:,} with its answer;"
            " send fewer, or deploy the model with a greater context_length."
        )
    return Prompt(tuple(messages), ids)


def settled(*layers: ChatSettings) -> ChatSettings:
    """Return settings of which each comes from the first layer that has it."""
    names = ChatSettings.model_fields
    values: dict[str, Any] = {}
    for name in names:
        values[name] = next((found for layer in layers if (found := getattr(layer, name)) is not None), None)
    return ChatSettings.model_validate(values)


def sampling(settings: ChatSettings, room: int) -> Sampling:
    """Return complete settings; the answer gets no more than the `room` tokens that are left."""

    def or_else(value: Any, default: Any) -> Any:
        return default if value is None else value

    return Sampling(
        temperature=or_else(settings.temperature, 1.0),
        top_p=or_else(settings.top_p, 1.0),
        top_k=or_else(settings.top_k, 0),
        min_p=or_else(settings.min_p, 0.0),
        max_tokens=max(1, min(or_else(settings.max_tokens, DEFAULT_MAX_TOKENS), room)),
        repetition_penalty=or_else(settings.repetition_penalty, 1.0),
        presence_penalty=or_else(settings.presence_penalty, 0.0),
        frequency_penalty=or_else(settings.frequency_penalty, 0.0),
        seed=settings.seed,
    )


def _is_valid(given: dict[str, Any]) -> bool:
    try:
        ChatSettings.model_validate(given)
    except ValueError:
        return False
    return True
