"""A transfer of hostile rows over all tables, killed again and again, ends with equal checksums.

`WORKBENCH_LONG=1` takes 1,000,000 rows and 20 kills.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import hostile
import postgresql
import pytest

from workbench.core.database import Database
from workbench.maintenance.archive import snapshot
from workbench.maintenance.rows import Shape, digest
from workbench.migrations.tables import METADATA

LONG = bool(os.environ.get("WORKBENCH_LONG"))
ROWS, KILLS = (40_000, 20) if LONG else (600, 3)  # rows of each table


def digests(url: str) -> dict[str, tuple[int, str]]:
    """Read a whole database."""
    database = Database(url)
    with snapshot(database) as connection:
        shapes = [Shape.of(table) for table in METADATA.sorted_tables]
        found = {shape.name: digest(connection, shape) for shape in shapes}
    database.close()
    return {name: (made.rows, made.sha256) for name, made in found.items()}


def command(home: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "workbench", "db", "transfer", "--to", url, "--home", str(home), "--json"]


@pytest.mark.slow
def test_a_transfer_that_is_killed_goes_on_and_ends_equal(postgresql_url: str, tmp_path: Path) -> None:
    source = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    source.prepare()
    total = hostile.fill(source, ROWS)
    source.close()
    before = hashlib.sha256((tmp_path / "workbench.db").read_bytes()).hexdigest()
    chance, killed, copied = random.Random(6), 0, list[int | None]()
    with postgresql.empty_database(postgresql_url) as url:
        begun = time.monotonic()
        subprocess.run(command(tmp_path, url), check=True, capture_output=True)
        whole = time.monotonic() - begun
    wanted = digests(f"sqlite:///{tmp_path / 'workbench.db'}")
    assert sum(rows for rows, _ in wanted.values()) == total
    while killed < KILLS:  # a run that is done before its kill begins a new target
        with postgresql.empty_database(postgresql_url) as url:
            left = 0
            while killed < KILLS and left is not None:
                process = subprocess.Popen(command(tmp_path, url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(chance.uniform(0.2, 0.9) * whole)
                killed += process.poll() is None
                process.kill()
                process.wait()
                left = _marked(url)
                copied.append(left)
            if left is not None:
                last = subprocess.run(command(tmp_path, url), capture_output=True, text=True)
                assert last.returncode == 0, last.stderr
                result = json.loads(last.stdout)
                assert (result["rows"], result["audit_entries"]) == (total, ROWS)
            assert digests(url) == wanted
    assert hashlib.sha256((tmp_path / "workbench.db").read_bytes()).hexdigest() == before
    print(f"{total} rows: {whole:.0f} s without a kill; {killed} kills, rows copied after each: {copied}; equal")


def _marked(url: str) -> int | None:
    """Return how many rows the unfinished target says that it has; None when it is finished."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            if not connection.dialect.has_table(connection, "workbench_transfer"):
                return None if connection.dialect.has_table(connection, "jobs") else 0
            return int(
                connection.exec_driver_sql("SELECT coalesce(sum(rows), 0) FROM workbench_transfer").scalar() or 0
            )
    finally:
        database.close()
