"""From a reference to an Arrow stream file that training opens memory-mapped. Needs the home, never the database."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from pyroaring import BitMap

from workbench.datasets.manifest import Manifest
from workbench.datasets.membership import cache_key, positions
from workbench.datasets.schemas import DataRef
from workbench.datasets.store import Store, publish, row_ids

SCHEMA = pa.schema([("row_id", pa.int64()), ("prompt", pa.string()), ("completion", pa.string())])


def materialise(home: Path, data: DataRef) -> Path:
    """Return an Arrow stream file with `row_id`, `prompt` and `completion` of the split's rows, in their order.

    `datasets.Dataset.from_file` opens it in milliseconds. It is written once for each version and split, whole or not
    at all.
    """
    path = home / "cache" / "arrow" / f"{cache_key(data)}-{data.split}.arrow"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        try:
            _write(temporary, home, data)
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _write(path: Path, home: Path, data: DataRef) -> None:
    store = Store.of(home)
    manifest = store.manifest(data.manifest)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
        for table in _tables(home, store, manifest, data):
            stream.write_table(table)


def _tables(home: Path, store: Store, manifest: Manifest, data: DataRef) -> Iterator[pa.Table]:
    chosen, start = positions(home, data, manifest), 0
    for table in store.scan(manifest, [data.mapping.prompt, data.mapping.completion]):
        end = start + table.num_rows
        wanted = list(chosen & BitMap(range(start, end)))
        start, first = end, start
        if wanted:
            rows = table.take([position - first for position in wanted])
            ids = pa.array(row_ids(manifest, wanted), pa.int64())
            yield pa.table([ids, rows.column(data.mapping.prompt), rows.column(data.mapping.completion)], schema=SCHEMA)
