"""From a reference to an Arrow stream file that training opens memory-mapped. Needs the home, never the database."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from pyroaring import BitMap

from workbench.datasets.conversation import Conversation, Conversations
from workbench.datasets.manifest import Manifest
from workbench.datasets.membership import cache_key, positions
from workbench.datasets.schemas import DataRef
from workbench.datasets.store import Store, publish, row_ids

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
#: A row has messages, or a text; a preference has the answer that was not chosen besides.
SCHEMA = pa.schema([("row_id", pa.int64()), ("messages", MESSAGES), ("text", pa.string()), ("rejected", pa.string())])


def materialise(home: Path, data: DataRef) -> Path:
    """Return an Arrow stream file with the conversations of the split's rows, in their order and of the `SCHEMA`.

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
    conversations = Conversations(data.mapping, manifest.columns)
    chosen, start = positions(home, data, manifest), 0
    for table in store.scan(manifest, data.mapping.columns):
        end = start + table.num_rows
        wanted = list(chosen & BitMap(range(start, end)))
        start, first = end, start
        if wanted:
            rows = list(conversations.of(table.take([position - first for position in wanted])))
            columns = {
                "row_id": row_ids(manifest, wanted),
                "messages": [row.messages for row in rows],
                "text": [row.text for row in rows],
                "rejected": [row.rejected for row in rows],
            }
            yield pa.table(columns, schema=SCHEMA)


def read(arrow: Path) -> Iterator[tuple[int, Conversation]]:
    """Yield the row ids and conversations of a file that `materialise` wrote."""
    with pa.memory_map(str(arrow)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            for row in batch.to_pylist():
                yield row["row_id"], Conversation(row["messages"], row["text"], row["rejected"])
