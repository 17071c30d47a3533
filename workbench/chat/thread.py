"""What a panel needs to know of a tree of messages and of settings as they are typed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from workbench.chat.exporting import branch
from workbench.chat.schemas import ChatModel, ChatSettings, Message

#: What is in force where neither the reader nor the model says otherwise.
DEFAULTS = {
    "temperature": "1",
    "max_tokens": "1024",
    "top_p": "1",
    "top_k": "0",
    "min_p": "0",
    "repetition_penalty": "1",
}
WHOLE = ("max_tokens", "top_k", "seed")

__all__ = ["DEFAULTS", "beside", "branch", "find", "is_open", "place", "shown", "snippet", "typed"]


def find(messages: Sequence[Message], message_id: str) -> Message:
    """Return a message by its id."""
    return next(message for message in messages if message.id == message_id)


def is_open(messages: Sequence[Message]) -> bool:
    """Tell whether the newest answer is still being written."""
    return bool(messages) and messages[-1].role == "assistant" and messages[-1].finish_reason is None


def place(messages: Sequence[Message], message: Message) -> tuple[int, int]:
    """Return which of how many messages it is that follow the same one."""
    beside_it = [each.id for each in messages if each.parent_id == message.parent_id and each.role == message.role]
    return beside_it.index(message.id) + 1, len(beside_it)


def beside(messages: Sequence[Message], message_id: str, step: int) -> str:
    """Return the newest message of the branch through the sibling that lies `step` away."""
    message = find(messages, message_id)
    siblings = [each for each in messages if each.parent_id == message.parent_id and each.role == message.role]
    tip = siblings[min(max(siblings.index(message) + step, 0), len(siblings) - 1)]
    while children := [each for each in messages if each.parent_id == tip.id]:
        tip = children[-1]
    return tip.id


def typed(name: str, value: str) -> object:
    """Read a setting as it was typed; empty: none. Raises ValueError for what is no number."""
    value = value.strip()
    if not value:
        return None
    if name == "system":
        return value
    if name == "stop":
        return [part.replace("\\n", "\n") for part in value.split(" | ")]
    return int(value) if name in WHOLE else float(value)


def shown(settings: ChatSettings, names: Sequence[str]) -> dict[str, str]:
    """Return settings as they are typed."""
    values = {name: getattr(settings, name) for name in names}
    return {name: _shown(value) for name, value in values.items() if value is not None}


def snippet(messages: Sequence[Message], model: ChatModel, url: str) -> str:
    """Return Python that asks the same of the same model."""
    asked = list(messages)
    while asked and asked[-1].role == "assistant":
        asked.pop()
    said = [{"role": message.role, "content": message.content} for message in asked]
    settings = model.settings
    if settings.system and not (said and said[0]["role"] == "system"):
        said.insert(0, {"role": "system", "content": settings.system})
    known = settings.model_dump(exclude_none=True, exclude={"system", "top_k", "min_p", "repetition_penalty"})
    more = settings.model_dump(exclude_none=True, include={"top_k", "min_p", "repetition_penalty"})
    options = [f"    {name}={value!r},\n" for name, value in known.items()]
    options += [f"    extra_body={more!r},\n"] if more else []
    lines = ",\n".join(f"        {json.dumps(message, ensure_ascii=False)}" for message in said)
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{url}/api/openai/v1", api_key=os.environ["WORKBENCH_TOKEN"])\n'
        "completion = client.chat.completions.create(\n"
        f"    model={model.id!r},\n    messages=[\n{lines},\n    ],\n{''.join(options)})\n"
        "print(completion.choices[0].message.content)\n"
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " | ".join(str(part).replace("\n", "\\n") for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
