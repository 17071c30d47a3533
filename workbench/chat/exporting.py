"""A conversation as a file to keep."""

from __future__ import annotations

import re

from workbench.chat.schemas import Conversation, Message
from workbench.core.routes import Download

WORDS = {"system": "System", "user": "User", "assistant": "Assistant"}
UNSAFE = re.compile(r"[^\w\-]+")
FENCE = re.compile(r"^(`{3,}|~{3,})", re.MULTILINE)


def export(conversation: Conversation, form: str) -> Download:
    """Return the whole tree as JSON, or the newest branch as Markdown."""
    name = UNSAFE.sub("-", conversation.title).strip("-")[:60] or "conversation"
    if form == "json":
        return Download(f"{name}.json", "application/json", conversation.model_dump_json(indent=2).encode())
    text = markdown(conversation)
    return Download(f"{name}.md", "text/markdown; charset=utf-8", text.encode())


def markdown(conversation: Conversation) -> str:
    """Return the newest branch as Markdown; other answers are in the JSON form."""
    blocks = [f"# {' '.join(conversation.title.split())}"]
    for message in branch(conversation.messages):
        who = f"{WORDS[message.role]} ({message.model})" if message.model else WORDS[message.role]
        blocks += [f"## {who}", closed(message.content)]
        if message.finish_reason not in (None, "stop"):
            blocks.append(f"*({message.finish_reason})*")
    return "\n\n".join(blocks) + "\n"


def branch(messages: list[Message], tip: str | None = None) -> list[Message]:
    """Return the messages from the first to `tip`, or to the newest."""
    by_id = {message.id: message for message in messages}
    message = by_id.get(tip or "") or (messages[-1] if messages else None)
    found: list[Message] = []
    while message is not None:
        found.append(message)
        message = by_id.get(message.parent_id or "")
    return found[::-1]


def closed(text: str) -> str:
    """Close a code block that was left open, so that it does not swallow what follows."""
    fences = FENCE.findall(text)
    return f"{text}\n{fences[-1]}" if len(fences) % 2 else text
