"""Pages of a version's rows, read straight from the row groups that hold them."""

from pathlib import Path

from workbench.datasets.membership import held_out, select
from workbench.datasets.schemas import DataRef, Row, RowsPage
from workbench.datasets.store import Store, row_ids


def page(home: Path, data: DataRef, offset: int, limit: int) -> RowsPage:
    """Return up to `limit` rows of the reference's split from `offset` on."""
    store = Store.of(home)
    manifest, test = store.manifest(data.manifest), held_out(home, data)
    chosen = select(test, data.split, manifest.rows)
    positions = list(chosen[offset : offset + limit])
    if not positions:
        return RowsPage(items=[], offset=offset, total=len(chosen))
    table = store.take(manifest, positions, [data.mapping.prompt, data.mapping.completion])
    texts = zip(*(column.to_pylist() for column in table.columns), strict=True)
    rows = [
        Row(row_id=row_id, prompt=prompt, completion=completion, split="test" if position in test else "train")
        for position, row_id, (prompt, completion) in zip(positions, row_ids(manifest, positions), texts, strict=True)
    ]
    return RowsPage(items=rows, offset=offset, total=len(chosen))
