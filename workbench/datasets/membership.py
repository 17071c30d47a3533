"""Which rows of a version are held out: a bitmap derived from the prompts, kept in the cache of the home."""

from collections.abc import Sequence
from pathlib import Path

from pyroaring import BitMap

from workbench.datasets.conversation import Conversations
from workbench.datasets.manifest import Manifest, digest
from workbench.datasets.schemas import DataRef, Split
from workbench.datasets.split import assign
from workbench.datasets.store import Store, write_once


def cache_key(data: DataRef) -> str:
    """Name what is derived from a version's rows and split."""
    parts = (data.manifest, data.mapping.model_dump_json(exclude_none=True), data.split_seed, data.test_fraction)
    return digest(repr(parts).encode())


def held_out(home: Path, data: DataRef) -> BitMap:
    """Return the positions of the test rows, computed once for each version."""
    path = _path(home, data)
    if path.exists():
        return BitMap.deserialize(path.read_bytes())
    test = _compute(Store.of(home), data)
    remember(home, data, test)
    return test


def remember(home: Path, data: DataRef, test: BitMap) -> None:
    """Keep the positions of the test rows, known from reading the file."""
    write_once(_path(home, data), test.serialize())


def positions(home: Path, data: DataRef, manifest: Manifest) -> BitMap:
    """Return the positions of the rows of the reference's split."""
    return select(held_out(home, data), data.split, manifest.rows)


def drawn(keys: Sequence[str], start: int, seed: int, test_fraction: float) -> BitMap:
    """Return the positions, counted from `start`, of those rows that fall to the test side, by what decides it."""
    return BitMap(n for n, key in enumerate(keys, start) if assign(key, seed, test_fraction) == "test")


def select(test: BitMap, split: Split, rows: int) -> BitMap:
    """Return the positions of one side, given those of the test rows and the number of all rows."""
    everything = BitMap(range(rows))
    return {"test": test, "train": everything - test, "all": everything}[split]


def _path(home: Path, data: DataRef) -> Path:
    return home / "cache" / "splits" / f"{cache_key(data)}.roar"


def _compute(store: Store, data: DataRef) -> BitMap:
    manifest = store.manifest(data.manifest)
    conversations, test, start = Conversations(data.mapping, manifest.columns), BitMap(), 0
    for table in store.scan(manifest, data.mapping.columns):
        keys = [conversation.key for conversation in conversations.of(table)]
        test |= drawn(keys, start, data.split_seed, data.test_fraction)
        start += table.num_rows
    return test
