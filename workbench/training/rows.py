"""From prompt/completion rows to token ids, without torch: the server checks rows before it accepts a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from workbench.core.errors import Invalid
from workbench.inference.template import ChatTemplate, Example

Row = tuple[str, str]  # prompt, completion


class NoTrainedToken(Invalid):
    """No row keeps a trained token."""

    code = "rows.no_trained_token"


class NoRows(Invalid):
    """There is no row to train on."""

    code = "rows.none"


@dataclass(frozen=True)
class TokenisedRows:
    """The rows that can be trained on, and what became of the others."""

    examples: list[Example]
    #: Used rows that `max_length` cut.
    truncated: int
    #: Rows left out, because `max_length` leaves nothing of their completion.
    dropped: int
    #: Tokens of the shortest prompt among the dropped rows; None when none was dropped.
    shortest_dropped_prompt: int | None

    @property
    def used(self) -> int:
        """Number of rows that are trained on."""
        return len(self.examples)


def read(arrow: Path) -> list[Row]:
    """Read the prompts and completions of a materialised split."""
    with pa.memory_map(str(arrow)) as source, pa.ipc.open_stream(source) as stream:
        table = stream.read_all()
        return list(zip(table.column("prompt").to_pylist(), table.column("completion").to_pylist(), strict=True))


def examples(template: ChatTemplate, rows: Iterable[Row], max_length: int) -> TokenisedRows:
    """Tokenise rows and leave out those without a trained token."""
    kept: list[Example] = []
    dropped_prompts: list[int] = []
    for prompt, completion in rows:
        example = template.example(prompt, completion)
        prompt_length = example.completion_mask.index(1)
        if prompt_length < max_length:
            kept.append(example.cut(max_length))
        else:
            dropped_prompts.append(prompt_length)
    truncated = sum(example.truncated for example in kept)
    return TokenisedRows(kept, truncated, len(dropped_prompts), min(dropped_prompts, default=None))


def ensure_trainable(template: ChatTemplate, rows: Sequence[Row], max_length: int) -> TokenisedRows:
    """Tokenise rows; raises NoRows or NoTrainedToken when nothing could be trained."""
    if not rows:
        raise NoRows("There is no row to train on; choose a split that has rows.")
    tokenised = examples(template, rows, max_length)
    if not tokenised.examples:
        raise NoTrainedToken(
            f"No trained token is left within max_length {max_length}: the shortest prompt alone has"
            f" {tokenised.shortest_dropped_prompt} tokens; raise max_length or shorten the prompts."
        )
    return tokenised
