"""Recognises which column is the prompt and which the completion, and says so in one sentence."""

import re
from collections.abc import Callable, Sequence

from workbench.core.errors import FieldProblem
from workbench.datasets.errors import MappingRefused
from workbench.datasets.schemas import ColumnMapping

PROMPTS = (
    *("prompt", "instruction", "instructions", "question", "questions", "input", "inputs", "query", "problem"),
    *("request", "user", "usermessage", "source", "提示", "指令", "问题", "提问", "输入"),
)
COMPLETIONS = (
    *("completion", "answer", "answers", "response", "responses", "output", "outputs", "target", "targets", "label"),
    *("reply", "solution", "assistant", "assistantmessage", "回答", "答案", "回复", "输出", "响应"),
)


def recognise(
    file_name: str,
    columns: Sequence[str],
    text_columns: Callable[[], Sequence[str]],
    prompt: str | None = None,
    completion: str | None = None,
) -> ColumnMapping:
    """Return the mapping: what the user said, else the usual names, else the only two text columns in their order.

    `text_columns` is asked only when names do not decide. Raises `MappingRefused` rather than guess between several.
    """
    _check_given(file_name, columns, prompt, completion)
    prompt = prompt or _named([name for name in columns if name != completion], PROMPTS)
    completion = completion or _named([name for name in columns if name != prompt], COMPLETIONS)
    if prompt is None or completion is None:
        pool = list(columns) if len(columns) == 2 else list(text_columns())
        rest = [name for name in pool if name not in (prompt, completion)]
        if len(rest) != (prompt is None) + (completion is None):
            raise _unsure(file_name, columns)
        prompt = prompt or rest.pop(0)
        completion = completion or rest.pop(0)
    return ColumnMapping(prompt=prompt, completion=completion)


def sentence(
    rows: int, described: str, columns: Sequence[str], mapping: ColumnMapping, converted: Sequence[str]
) -> str:
    """Say what was read and what was taken for what."""
    ignored = [name for name in columns if name not in (mapping.prompt, mapping.completion)]
    text = (
        f'Read {rows:,} {"row" if rows == 1 else "rows"} of {described}: took column "{mapping.prompt}" '
        f'for the prompt and "{mapping.completion}" for the completion'
    )
    text += f"; wrote the values of {quoted(converted)} as text" if converted else ""
    return text + (f"; ignored {quoted(ignored)}." if ignored else ".")


def quoted(names: Sequence[str], most: int = 12) -> str:
    """List column names in quotes."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more


def _check_given(file_name: str, columns: Sequence[str], prompt: str | None, completion: str | None) -> None:
    missing = next((name for name in (prompt, completion) if name is not None and name not in columns), None)
    if missing is not None:
        raise MappingRefused(
            f'{file_name} has no column "{missing}"; its columns are {quoted(columns)}.', problems=_choices(columns)
        )
    if prompt is not None and prompt == completion:
        raise MappingRefused(f'The column "{prompt}" cannot be both the prompt and the completion.')


def _named(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the one column with a usual name; the first of the usual names wins over all others."""
    found = [name for name in columns if _normal(name) in usual]
    first = [name for name in found if _normal(name) == usual[0]]
    return next((group[0] for group in (first, found) if len(group) == 1), None)


def _normal(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _unsure(file_name: str, columns: Sequence[str]) -> MappingRefused:
    return MappingRefused(
        f"Cannot tell which column of {file_name} is the prompt and which the completion among {quoted(columns)}; "
        'name them with prompt="…" and completion="…".',
        problems=_choices(columns),
    )


def _choices(columns: Sequence[str]) -> list[FieldProblem]:
    """Name the columns one by one, for a panel that lets the user choose."""
    return [FieldProblem(pointer="/columns", message=name) for name in columns]
