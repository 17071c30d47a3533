"""Recognises what the columns of a file are, and says in one sentence what was taken for what."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from workbench.core.errors import FieldProblem
from workbench.datasets.conversation import looks_like_messages
from workbench.datasets.errors import MappingRefused
from workbench.datasets.schemas import ColumnMapping, ColumnRoles, Format

PROMPTS = (
    *("prompt", "instruction", "instructions", "question", "questions", "input", "inputs", "query", "problem"),
    *("request", "user", "usermessage", "source", "提示", "指令", "问题", "提问", "输入"),
)
COMPLETIONS = (
    *("completion", "answer", "answers", "response", "responses", "output", "outputs", "target", "targets", "label"),
    *("reply", "solution", "assistant", "assistantmessage", "回答", "答案", "回复", "输出", "响应"),
)
INSTRUCTIONS = ("instruction", "指令")  # with an input beside it, the format of Alpaca
INPUTS = ("input", "输入")
SYSTEMS = ("system", "systemprompt", "系统", "系统提示")
CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "对话")
WHOLE_TEXTS = ("text", "content", "document", "正文", "文本")
WORDS = {
    "prompt": "the prompt",
    "input": "its input",
    "completion": "the completion",
    "system": "the system message",
    "messages": "the conversation",
    "chosen": "the chosen answer",
    "rejected": "the rejected answer",
    "text": "a plain text",
}


def recognise(
    file_name: str,
    columns: Sequence[str],
    text_columns: Callable[[], Sequence[str]],
    given: ColumnRoles | None = None,
    sample: Callable[[], Sequence[Mapping[str, Any]]] = list,
) -> ColumnMapping:
    """Return the mapping: what the user said, else by the usual names, else by what the values look like.

    The order: preferences (`chosen` and `rejected`), conversations (a column of lists of messages), prompt and
    completion, a single plain text. `text_columns` and `sample` read the file and are asked only when names do not
    decide. Raises `MappingRefused` rather than guess between several.
    """
    given = given or ColumnRoles()
    _check_given(file_name, columns, given)
    normal = {_normal(name): name for name in reversed(columns)}
    finders: dict[Format, Callable[[], dict[str, str] | None]] = {
        "preference": lambda: _preference(given, normal),
        "messages": lambda: _messages(given, columns, sample),
        "prompt_completion": lambda: _pair(given, columns, normal, text_columns),
        "text": lambda: _text(given, columns, normal),
    }
    for kind, find in finders.items():
        found = find() if given.format in (None, kind) else None
        if found is not None:
            return _mapping(file_name, columns, kind, found, given, normal)
    raise _unsure(file_name, columns)


def sentence(
    rows: int,
    described: str,
    columns: Sequence[str],
    mapping: ColumnMapping,
    converted: Sequence[str],
    shortened: int = 0,
) -> str:
    """Say what was read, what was taken for what, and what was left out."""
    ignored = [name for name in columns if name not in mapping.columns]
    taken = [f'"{column}" for {WORDS[role]}' for role, column in mapping.roles.items()]
    text = f"Read {_counted(rows, 'row')} of {described}: took column {_listed(taken)}"
    text += f"; wrote the values of {quoted(converted)} as text" if converted else ""
    if shortened:
        text += (
            f"; of {_counted(shortened, 'conversation')}, left out what came before the question or after the answer"
        )
    return text + (f"; ignored {quoted(ignored)}." if ignored else ".")


def quoted(names: Sequence[str], most: int = 12) -> str:
    """List column names in quotes."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more


def _preference(given: ColumnRoles, normal: Mapping[str, str]) -> dict[str, str] | None:
    chosen, rejected = given.chosen or normal.get("chosen"), given.rejected or normal.get("rejected")
    if chosen is None or rejected is None:
        return None
    prompt = given.prompt or next((normal[name] for name in PROMPTS if name in normal), None)
    return {"chosen": chosen, "rejected": rejected} | ({"prompt": prompt} if prompt is not None else {})


def _messages(
    given: ColumnRoles, columns: Sequence[str], sample: Callable[[], Sequence[Mapping[str, Any]]]
) -> dict[str, str] | None:
    if given.messages is not None:
        return {"messages": given.messages}
    if given.roles and given.format is None:
        return None
    named = [name for name in columns if _normal(name) in CONVERSATIONS]
    usual = [name for name in columns if _normal(name) in (*PROMPTS, *COMPLETIONS)]
    if not named and usual:
        return None
    rows = sample()
    values = {name: [row[name] for row in rows] for name in columns}
    chosen = [name for name in named if looks_like_messages(values[name], any)]
    chosen = chosen or [name for name in columns if looks_like_messages(values[name])]
    return {"messages": chosen[0]} if len(chosen) == 1 else None


def _pair(
    given: ColumnRoles, columns: Sequence[str], normal: Mapping[str, str], text_columns: Callable[[], Sequence[str]]
) -> dict[str, str] | None:
    alpaca = _alpaca(given, normal)
    if alpaca is not None:
        return alpaca
    rest = [name for name in columns if _normal(name) not in SYSTEMS or name in given.roles.values()]
    prompt = given.prompt or _named([name for name in rest if name != given.completion], PROMPTS)
    completion = given.completion or _named([name for name in rest if name != prompt], COMPLETIONS)
    if prompt is None and completion is None and _first(normal, WHOLE_TEXTS) is not None:
        return None
    if prompt is None or completion is None:
        pool = rest if len(rest) == 2 else [name for name in text_columns() if name in rest]
        left = [name for name in pool if name not in (prompt, completion)]
        if len(left) != (prompt is None) + (completion is None):
            return None
        prompt = prompt or left.pop(0)
        completion = completion or left.pop(0)
    return {"prompt": prompt, "completion": completion}


def _alpaca(given: ColumnRoles, normal: Mapping[str, str]) -> dict[str, str] | None:
    prompt, extra = (_first(normal, names) for names in (INSTRUCTIONS, INPUTS))
    completion = given.completion or _first(normal, COMPLETIONS)
    if prompt is None or extra is None or completion is None or given.prompt not in (None, prompt):
        return None
    others = [name for key, name in normal.items() if key in COMPLETIONS and name != completion]
    return None if others and given.completion is None else {"prompt": prompt, "input": extra, "completion": completion}


def _text(given: ColumnRoles, columns: Sequence[str], normal: Mapping[str, str]) -> dict[str, str] | None:
    found = given.text or _first(normal, WHOLE_TEXTS) or (columns[0] if given.format and len(columns) == 1 else None)
    return {"text": found} if found is not None else None


def _mapping(
    file_name: str,
    columns: Sequence[str],
    kind: Format,
    found: dict[str, str],
    given: ColumnRoles,
    normal: Mapping[str, str],
) -> ColumnMapping:
    system = _first(normal, SYSTEMS) if kind != "text" else None
    roles: dict[str, str] = {**found, **given.roles}
    if system is not None and system not in roles.values():
        roles["system"] = system
    repeated = next((name for name in roles.values() if list(roles.values()).count(name) > 1), None)
    if repeated is not None:
        both = " and ".join(WORDS[role] for role, name in roles.items() if name == repeated)
        raise MappingRefused(f'The column "{repeated}" cannot be both {both}.', problems=_choices(columns))
    try:
        return ColumnMapping.model_validate({"format": kind, **roles})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise MappingRefused(f"{file_name} cannot be read so: {reason}.", problems=_choices(columns)) from error


def _check_given(file_name: str, columns: Sequence[str], given: ColumnRoles) -> None:
    missing = next((name for name in given.roles.values() if name not in columns), None)
    if missing is not None:
        raise MappingRefused(
            f'{file_name} has no column "{missing}"; its columns are {quoted(columns)}.', problems=_choices(columns)
        )


def _named(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the one column with a usual name; the first of the usual names wins over all others."""
    found = [name for name in columns if _normal(name) in usual]
    first = [name for name in found if _normal(name) == usual[0]]
    return next((group[0] for group in (first, found) if len(group) == 1), None)


def _first(normal: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((normal[name] for name in names if name in normal), None)


def _normal(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _unsure(file_name: str, columns: Sequence[str]) -> MappingRefused:
    return MappingRefused(
        f"Cannot tell which column of {file_name} is the prompt and which the completion among {quoted(columns)}; "
        'name them with prompt="…" and completion="…", or say what else it is with format="…".',
        problems=_choices(columns),
    )


def _choices(columns: Sequence[str]) -> list[FieldProblem]:
    """Name the columns one by one, for a panel that lets the user choose."""
    return [FieldProblem(pointer="/columns", message=name) for name in columns]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
