from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.datasets import store as store_module
from workbench.datasets.errors import DamagedStoreError
from workbench.datasets.manifest import Manifest
from workbench.datasets.schemas import Column
from workbench.datasets.store import SegmentWriter, Store, row_ids, write_once

COLUMNS = (Column(name="a.b", type="string"), Column(name="a", type="int64"))


def table(start: int, rows: int) -> pa.Table:
    numbers = range(start, start + rows)
    return pa.table({"a.b": [f"text {n}" for n in numbers], "a": list(numbers)})


def filled(store: Store, rows: int, segment_rows: int, step: int = 5) -> Manifest:
    writer = SegmentWriter(store, segment_rows)
    for start in range(0, rows, step):
        writer.add(table(start, min(step, rows - start)))
    writer.flush()
    return Manifest(columns=COLUMNS, next_rid=rows, parent=None, segments=tuple(writer.segments))


@pytest.fixture
def store(home: Path) -> Store:
    return Store.of(home)


@pytest.mark.parametrize("segment_rows", [1, 4, 7, 100])
def test_rows_come_back_in_order_however_they_are_cut(store: Store, segment_rows: int) -> None:
    manifest = filled(store, 23, segment_rows)
    assert manifest.rows == 23
    assert [segment.rid0 for segment in manifest.segments] == list(range(0, 23, segment_rows))
    read = pa.concat_tables(store.scan(manifest, ["a.b", "a"]))
    assert read.equals(table(0, 23))


def test_only_the_named_columns_are_read(store: Store) -> None:
    manifest = filled(store, 3, 10)
    assert [part.column_names for part in store.scan(manifest, ["a"])] == [["a"]]


def test_take_reads_positions_across_segments_and_row_groups(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ROW_GROUP_ROWS", 3)
    manifest = filled(store, 40, 11)
    wanted = [0, 2, 3, 10, 11, 21, 22, 38, 39]
    assert store.take(manifest, wanted, ["a"]).column("a").to_pylist() == wanted
    assert row_ids(manifest, wanted) == wanted


def test_long_rows_make_shorter_segments(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SEGMENT_BYTES", 100)
    assert len(filled(store, 50, 1000).segments) == 5


def test_equal_rows_are_stored_once(store: Store) -> None:
    first, second = filled(store, 20, 10), filled(store, 20, 10)
    assert first == second
    assert len(list(store.root.rglob("*.parquet"))) == 2


def test_a_manifest_is_found_by_its_hash(store: Store) -> None:
    manifest = filled(store, 5, 10)
    name = store.put_manifest(manifest)
    assert len(name) == 32
    assert store.manifest(name) == manifest
    assert store.put_manifest(manifest) == name


def test_a_missing_manifest_or_object_says_so(store: Store) -> None:
    manifest = filled(store, 5, 10)
    store.object_path(manifest.segments[0].files[0].oid).unlink()
    with pytest.raises(DamagedStoreError, match=r"^Object \w+ cannot be read from the store"):
        list(store.scan(manifest, ["a"]))
    with pytest.raises(DamagedStoreError, match=r"^Manifest 00ff cannot be read from the store"):
        store.manifest("00ff")


def test_a_truncated_manifest_says_so(store: Store) -> None:
    name = store.put_manifest(filled(store, 5, 10))
    path = store.manifest_path(name)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedStoreError, match=f"^Manifest {name} "):
        store.manifest(name)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_sync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_once(tmp_path / "store" / "x", b"content")
    assert list((tmp_path / "store").iterdir()) == []


KILLED_CHILD = """
import os, signal, sys
from pathlib import Path
from workbench.datasets import store as module
from workbench.datasets.encoding import SourceFile
from workbench.datasets.ingest import Drawing, ingest, seal

home, source, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
steps = 0

def dying(path, real=module._sync):
    global steps
    steps += 1
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path)

module._sync = dying
print(seal(home, ingest(home, SourceFile(source, "rows.csv"), Drawing(0.1, 0), segment_rows=50), None))
"""


def run_child(home: Path, source: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED_CHILD, str(home), str(source), str(fatal)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("fatal", [1, 2, 3, 5])
def test_a_kill_in_the_middle_of_a_write_leaves_only_whole_files(home: Path, tmp_path: Path, fatal: int) -> None:
    """Two segments and a manifest are three writes, each of which syncs its file before and its folder after."""
    source, store = tmp_path / "rows.csv", Store.of(home)
    source.write_text("question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(100)))
    killed = run_child(home, source, fatal)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(store.root.glob("manifests/[!.]*")) == []
    objects = list(store.root.glob("objects/*/[!.]*"))
    assert len(objects) == fatal // 2
    assert all(pq.read_table(path).num_rows == 50 for path in objects)

    ended = run_child(home, source, 0)
    assert ended.returncode == 0, ended.stderr
    prompts = pa.concat_tables(store.scan(store.manifest(ended.stdout.strip()), ["question"]))
    assert prompts.column(0).to_pylist() == [f"q{n}" for n in range(100)]
