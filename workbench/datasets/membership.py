"""Which rows of a version are held out: a bitmap derived from the prompts, kept in the cache of the home."""

from pathlib import Path

from pyroaring import BitMap

from workbench.datasets.manifest import Manifest, digest
from workbench.datasets.schemas import DataRef, Split
from workbench.datasets.split import assign
from workbench.datasets.store import Store, write_once


def cache_key(data: DataRef) -> str:
    """Name what is derived from a version's rows and split."""
    parts = (data.manifest, data.mapping.prompt, data.mapping.completion, data.split_seed, data.test_fraction)
    return digest(repr(parts).encode())


def held_out(home: Path, data: DataRef) -> BitMap:
    """Return the positions of the test rows, computed once for each version."""
    path = home / "cache" / "splits" / f"{cache_key(data)}.roar"
    if path.exists():
        return BitMap.deserialize(path.read_bytes())
    bitmap = _compute(Store.of(home), data)
    write_once(path, bitmap.serialize())
    return bitmap


def positions(home: Path, data: DataRef, manifest: Manifest) -> BitMap:
    """Return the positions of the rows of the reference's split."""
    return select(held_out(home, data), data.split, manifest.rows)


def select(test: BitMap, split: Split, rows: int) -> BitMap:
    """Return the positions of one side, given those of the test rows and the number of all rows."""
    everything = BitMap(range(rows))
    return {"test": test, "train": everything - test, "all": everything}[split]


def _compute(store: Store, data: DataRef) -> BitMap:
    bitmap, start = BitMap(), 0
    column = data.mapping.prompt
    for table in store.scan(store.manifest(data.manifest), [column]):
        prompts = enumerate(table.column(0).to_pylist(), start)
        bitmap.update(n for n, prompt in prompts if assign(prompt, data.split_seed, data.test_fraction) == "test")
        start += table.num_rows
    return bitmap
