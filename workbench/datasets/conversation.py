"""From a stored row to the conversation that training and evaluation see: the one place that knows every format."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from workbench.datasets.schemas import Column, ColumnMapping

Message = dict[str, str]  # role, content

ROLE_NAMES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
}
SPEAKERS, TEXTS = ("role", "from"), ("content", "value")  # OpenAI's and ShareGPT's names
SHOWN = 40  # characters of a value that an error repeats


class RowRefused(ValueError):
    """A row cannot be used; the message goes on after the row's place."""


@dataclass(frozen=True)
class Conversation:
    """A row: either messages that end with the assistant's answer, or a plain text."""

    messages: list[Message]
    text: str | None = None
    #: Of a preference, the assistant's other answer.
    rejected: str | None = None
    #: Whether turns before the first question or after the last answer were left out.
    shortened: bool = False

    @property
    def answer(self) -> str:
        """The last answer, or the whole of a plain text."""
        return self.text if self.text is not None else self.messages[-1]["content"]

    @property
    def transcript(self) -> str:
        """All that comes before the last answer: a single question as it is, more turns with their roles."""
        asked = self.messages[:-1]
        if _is_single(asked):
            return asked[0]["content"]
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in asked)

    @property
    def key(self) -> str:
        """What decides on which side of a split the row falls: its prompt, or its whole text."""
        if self.text is not None:
            return self.text
        asked = self.messages[:-1]
        return asked[0]["content"] if _is_single(asked) else json.dumps(asked, ensure_ascii=False, sort_keys=True)


class Conversations:
    """Makes conversations of a version's rows, by its mapping and the types of its columns."""

    def __init__(self, mapping: ColumnMapping, columns: Sequence[Column]) -> None:
        self.columns = mapping.columns
        self._roles = mapping.roles
        self._nested = {column.name for column in columns if column.type == "json"}
        self._make = MAKERS[mapping.format]

    def of(self, table: pa.Table) -> Iterator[Conversation]:
        """Yield the conversation of each row; raises `RowRefused` at the first that is none."""
        for row in table.select(self.columns).to_pylist():
            yield self.make(row)

    def make(self, row: Mapping[str, Any]) -> Conversation:
        """Make one row's conversation."""
        return self._make(Cells({role: (name, self._value(name, row[name])) for role, name in self._roles.items()}))

    def _value(self, name: str, value: Any) -> Any:
        return json.loads(value) if name in self._nested and value is not None else value


@dataclass(frozen=True)
class Cells:
    """A row's values by their role, with the names of their columns."""

    values: Mapping[str, tuple[str, Any]]

    def name(self, role: str) -> str:
        """Return the name of a role's column."""
        return self.values[role][0]

    def get(self, role: str) -> Any:
        """Return the value of a role, None where it has no column."""
        return self.values[role][1] if role in self.values else None

    def text(self, role: str) -> str:
        """Return a text that is not blank."""
        value = self.get(role)
        if not isinstance(value, str) or not value.strip():
            if value is None or isinstance(value, str):
                raise RowRefused(f'has an empty "{self.name(role)}"; fill it in or remove the row')
            raise RowRefused(f'has no text in "{self.name(role)}" but {_shown(value)}')
        return value

    def optional(self, role: str) -> str | None:
        """Return a text, None where it is blank."""
        value = self.get(role)
        return value if isinstance(value, str) and value.strip() else None

    def turns(self, role: str) -> list[Message]:
        """Return a list of messages, which may be given as JSON."""
        value = self.get(role)
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = _parsed(value, self.name(role))
        if not isinstance(value, list) or not value:
            raise RowRefused(f'has no list of messages in "{self.name(role)}" but {_shown(value)}')
        return [_message(turn, self.name(role)) for turn in value]

    def has_turns(self, role: str) -> bool:
        """Tell whether a value is a list of messages rather than a text."""
        value = self.get(role)
        return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("[{"))


def looks_like_messages(values: Sequence[Any], enough: Callable[[Iterable[bool]], bool] = all) -> bool:
    """Tell whether the values of a column are lists of messages: `enough` (all or any) of those that there are."""
    given = [value for value in values if value not in (None, "")]
    return bool(given) and enough(_is_conversation(value) for value in given)


def _is_conversation(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[{") else None
        except (ValueError, RecursionError):
            return False
    turns = value if isinstance(value, list) else []
    return bool(turns) and all(isinstance(turn, dict) and _named(turn, SPEAKERS) for turn in turns)


def _prompt_completion(cells: Cells) -> Conversation:
    prompt, extra = cells.text("prompt"), cells.optional("input")
    asked = f"{prompt}\n\n{extra}" if extra is not None else prompt
    turns = [_turn("user", asked), _turn("assistant", cells.text("completion"))]
    return Conversation(_system(cells) + turns)


def _messages(cells: Cells) -> Conversation:
    turns = cells.turns("messages")
    own = [turn for turn in turns if turn["role"] == "system"]
    spoken = [turn for turn in turns if turn["role"] != "system"]
    if len(own) > 1 or (own and turns[0] is not own[0]):
        raise RowRefused(f'has a system message in "{cells.name("messages")}" that is not its first')
    if own and _system(cells):
        raise RowRefused(f'has a system message both in "{cells.name("system")}" and in "{cells.name("messages")}"')
    kept = _trained_part(spoken, cells.name("messages"))
    return Conversation((own or _system(cells)) + kept, shortened=len(kept) < len(spoken))


def _preference(cells: Cells) -> Conversation:
    chosen, rejected = (_answers(cells, role) for role in ("chosen", "rejected"))
    if chosen == rejected:
        raise RowRefused("has the same chosen and rejected answer; remove the row")
    prompt = _prompt(cells)
    if not prompt:
        prompt = [first for first, second in zip(chosen, rejected, strict=False) if first == second]
        if chosen[: len(prompt)] != prompt or not prompt:
            raise RowRefused("has no prompt: chosen and rejected do not begin with the same messages")
    endings = [turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns for turns in (chosen, rejected)]
    if any([turn["role"] for turn in turns] != ["assistant"] for turns in endings):
        raise RowRefused("has a chosen or rejected side that is not one answer to the prompt")
    if endings[0] == endings[1]:
        raise RowRefused("has the same chosen and rejected answer; remove the row")
    system = [] if prompt[0]["role"] == "system" else _system(cells)
    return Conversation([*system, *prompt, *endings[0]], rejected=endings[1][0]["content"])


def _text(cells: Cells) -> Conversation:
    return Conversation([], text=cells.text("text"))


MAKERS: dict[str, Callable[[Cells], Conversation]] = {
    "prompt_completion": _prompt_completion,
    "messages": _messages,
    "preference": _preference,
    "text": _text,
}


def _prompt(cells: Cells) -> list[Message]:
    if "prompt" not in cells.values:
        return []
    return cells.turns("prompt") if cells.has_turns("prompt") else [_turn("user", cells.text("prompt"))]


def _answers(cells: Cells, role: str) -> list[Message]:
    return cells.turns(role) if cells.has_turns(role) else [_turn("assistant", cells.text(role))]


def _system(cells: Cells) -> list[Message]:
    text = cells.optional("system")
    return [_turn("system", text)] if text is not None else []


def _trained_part(turns: list[Message], column: str) -> list[Message]:
    """Return the turns from the first question to the last answer; both sides take turns in between."""
    roles = [turn["role"] for turn in turns]
    if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
        raise RowRefused(f'has no answer to a question in "{column}"; remove the row')
    kept = turns[roles.index("user") : len(roles) - roles[::-1].index("assistant")]
    twice = next((a["role"] for a, b in pairwise(kept) if a["role"] == b["role"]), None)
    if twice is not None:
        raise RowRefused(f'has two {twice} messages in a row in "{column}"; join them or remove the row')
    return kept


def _message(turn: Any, column: str) -> Message:
    if not isinstance(turn, dict):
        raise RowRefused(f'has something in "{column}" that is no message but {_shown(turn)}')
    speaker, content = _named(turn, SPEAKERS), _named(turn, TEXTS)
    role = ROLE_NAMES.get(str(turn.get(speaker)).lower()) if speaker is not None else None
    if role is None:
        raise RowRefused(f'has a message of the role {_shown(turn.get(speaker or "role"))} in "{column}"')
    if any(turn.get(call) for call in ("tool_calls", "function_call")):
        raise RowRefused(f'has a message with a tool call in "{column}", which cannot be trained on yet')
    text = _joined(turn[content], column) if content is not None else ""
    if not text.strip():
        raise RowRefused(f'has an empty message in "{column}"; fill it in or remove the row')
    if "\0" in text:
        raise RowRefused(f'holds a NUL character in "{column}"')
    return _turn(role, text)


def _joined(content: Any, column: str) -> str:
    """Return a message's text; the text parts of a list are joined."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise RowRefused(f'has a message in "{column}" that is not only text')
    return content or ""


def _named(turn: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if turn.get(name) is not None), None)


def _parsed(value: str, column: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise RowRefused(f'has something in "{column}" that is not valid JSON') from None


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _is_single(asked: Sequence[Message]) -> bool:
    return len(asked) == 1 and asked[0]["role"] == "user"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
