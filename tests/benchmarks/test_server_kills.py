"""kill -9 of the server while it writes: what was acknowledged is there, and nothing is half there.

`WORKBENCH_LONG=1` kills it 250 times on each store.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from load import Clients
from postgresql import free_port
from servers import until
from sqlalchemy import select, text

from workbench.accounts.tables import AuditEntry
from workbench.chat.tables import Conversation
from workbench.core.database import Database
from workbench.jobs.files import live_servers

KILLS = 250 if os.environ.get("WORKBENCH_LONG") else 4
TOKEN = "f" * 48


@contextmanager
def launcher(home: Path, url: str, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).parent.parent / "forking.py"), str(home), str(port), TOKEN]
    environment = os.environ | {"WORKBENCH_DATABASE_URL": url}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(timeout=10)
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(empty_database_url: str, tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    database = Database(empty_database_url)
    database.prepare()
    chance, acknowledged, in_flight = random.Random(6), set[str](), 0
    with launcher(home, empty_database_url, port) as own:
        for _ in range(KILLS):
            own.stdin.write("\n")  # type: ignore[union-attr]
            own.stdin.flush()  # type: ignore[union-attr]
            pid = int(own.stdout.readline())  # type: ignore[union-attr]
            until(lambda pid=pid: any(one["pid"] == pid for one in live_servers(home)), 90, "the server's start")
            clients = Clients(f"http://127.0.0.1:{port}/", TOKEN, writers=4, readers=0)
            clients.start()
            until(lambda clients=clients: clients.acknowledged, 90, "the first write")
            time.sleep(chance.random() * 0.3)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not psutil.pid_exists(pid), 90, "its end")
            clients.stop()
            assert clients.bad == []
            acknowledged |= clients.acknowledged
            in_flight += look(database, acknowledged)
    database.close()
    print(f"{database.dialect}: {KILLS} kills, {len(acknowledged)} acknowledged writes, 0 lost, 0 half there")


def look(database: Database, acknowledged: set[str]) -> int:
    """Find every acknowledged write with its audit entry, and no one without the other; return how many are more."""
    with database.read() as session:
        if database.dialect == "sqlite":
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
        there = set(session.scalars(select(Conversation.id)))
        noted = set(session.scalars(select(AuditEntry.object).where(AuditEntry.action == "chat.create")))
    assert acknowledged <= there, f"lost: {len(acknowledged - there)}"
    assert there == noted, f"half there: {len(there ^ noted)}"
    return len(there - acknowledged)
