"""From a conversation to what an engine is asked: the same tokens as in training, within the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.errors import Invalid
from workbench.inference.template import ChatTemplate
from workbench.serving.engines import Message, Prompt

DEFAULT_MAX_TOKENS = 1024
LEAST_ROOM = 4  # the answer gets a quarter of the context at least, unless its limit is lower


class ContextExceeded(Invalid):
    """The conversation is longer than the model can see."""

    code = "context_length_exceeded"


@dataclass(frozen=True)
class Fitted:
    """A prompt, and how many messages had to go."""

    prompt: Prompt
    left_out: int


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


def whole(template: ChatTemplate, messages: Sequence[Message], context_length: int) -> Fitted:
    """Render a conversation and leave nothing out; raises `ContextExceeded`."""
    ids = template.prompt_ids(messages)
    if len(ids) >= context_length:
        raise ContextExceeded(
            f"The messages have {len(ids):,} tokens, and the model sees {context_length:,} with its answer;"
            " send fewer, or deploy the model with a greater context_length."
        )
    return Fitted(Prompt(tuple(messages), ids), 0)
