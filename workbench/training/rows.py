"""From conversations to token ids, without torch: the server checks rows before it accepts a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.core.errors import Invalid
from workbench.datasets.conversation import Conversation
from workbench.inference.template import ChatTemplate, Example

Row = tuple[int, Conversation]  # row id


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
    #: Ids of the used rows, in the order of the examples.
    row_ids: list[int]
    #: Used rows that `max_length` cut.
    truncated: int
    #: Rows left out, because `max_length` leaves nothing of their answers.
    dropped: int
    #: Tokens before the first trained one in the shortest dropped row; None when none was dropped.
    shortest_dropped_prompt: int | None

    @property
    def used(self) -> int:
        """Number of rows that are trained on."""
        return len(self.examples)

    @property
    def untrained_turns(self) -> int:
        """Earlier answers in used rows that are not trained, because they are served with other tokens."""
        return sum(example.untrained_turns for example in self.examples)


def tokenise(template: ChatTemplate, row: Conversation) -> Example:
    """Turn a row into tokens: a conversation by the model's template, a plain text without it."""
    return template.plain(row.text) if row.text is not None else template.conversation(row.messages)


def examples(template: ChatTemplate, rows: Iterable[Row], max_length: int) -> TokenisedRows:
    """Tokenise rows and leave out those without a trained token."""
    kept: dict[int, Example] = {}
    dropped_prompts: list[int] = []
    for row_id, conversation in rows:
        example = tokenise(template, conversation)
        prompt_length = example.completion_mask.index(1)
        if prompt_length < max_length:
            kept[row_id] = example.cut(max_length)
        else:
            dropped_prompts.append(prompt_length)
    truncated = sum(example.truncated for example in kept.values())
    shortest = min(dropped_prompts, default=None)
    return TokenisedRows(list(kept.values()), list(kept), truncated, len(dropped_prompts), shortest)


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
