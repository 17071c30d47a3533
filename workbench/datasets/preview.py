"""Pages of a version's rows, read straight from the row groups that hold them."""

from pathlib import Path
from typing import Literal

from pyroaring import BitMap

from workbench.datasets.conversation import Conversation, Conversations
from workbench.datasets.membership import held_out, select
from workbench.datasets.schemas import DataRef, Message, Row, RowsPage
from workbench.datasets.store import Store, positions_of, row_ids


def page(home: Path, data: DataRef, offset: int, limit: int, only: BitMap | None = None) -> RowsPage:
    """Return up to `limit` rows of the reference's split from `offset` on; `only` are the ids of those that count."""
    store = Store.of(home)
    manifest, test = store.manifest(data.manifest), held_out(home, data)
    chosen = select(test, data.split, manifest.rows)
    if only is not None:
        chosen &= positions_of(manifest, only)
    positions = list(chosen[offset : offset + limit])
    if not positions:
        return RowsPage(items=[], offset=offset, total=len(chosen))
    table = store.take(manifest, positions, data.mapping.columns)
    conversations = Conversations(data.mapping, manifest.columns).of(table)
    numbered = zip(positions, row_ids(manifest, positions), conversations, strict=True)
    rows = [
        _row(row_id, conversation, "test" if position in test else "train")
        for position, row_id, conversation in numbered
    ]
    return RowsPage(items=rows, offset=offset, total=len(chosen))


def _row(row_id: int, conversation: Conversation, split: Literal["train", "test"]) -> Row:
    return Row(
        row_id=row_id,
        prompt=conversation.transcript,
        completion=conversation.answer,
        rejected=conversation.rejected,
        messages=[Message.model_validate(message) for message in conversation.messages],
        split=split,
    )
