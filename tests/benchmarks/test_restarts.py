"""PostgreSQL crashes and comes back while people work: they are told to try again, and nothing that was said is lost.

`WORKBENCH_LONG=1` does it 20 times.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgresql
import psutil
import pytest
from load import Clients
from servers import Lab, running_lab, until
from sqlalchemy import make_url

from workbench.chat.tables import Conversation
from workbench.core.database import Database
from workbench.testing import demo_rows, make_model
from workbench.training.client import Run

RESTARTS = 20 if os.environ.get("WORKBENCH_LONG") else 2
AIM = 5.0  # seconds until writes go on


def trainer_pids(home: Path) -> set[int]:
    """Return the processes that train."""
    found = set()
    for process in psutil.process_iter():
        try:
            if "workbench.training.run" in " ".join(process.cmdline()) and str(home) in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def start_run(lab: Lab, tmp_path: Path) -> str:
    data = lab.wb.datasets.upload(demo_rows(), name="rows")
    base = make_model(tmp_path / "tiny", "qwen3", hidden_size=32)
    return lab.wb.train(base=str(base), data=data["train"], max_steps=200_000, batch_size=4, logging_steps=20).id


def watch(run: Run) -> list[int]:
    """Follow a run's stream to its end, and return the numbers of its metrics."""
    return [message.seq for message in run.stream() if message.type == "metric"]


@pytest.mark.slow
def test_a_database_that_crashes_loses_nothing(tmp_path: Path) -> None:
    with postgresql.cluster() as own, postgresql.empty_database(own.url) as url:
        home = tmp_path / "home"
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with running_lab(home, WORKBENCH_DATABASE_URL=plain) as lab:
            run = start_run(lab, tmp_path)
            before = until(lambda: trainer_pids(home), 90, "the run's start")
            until(lambda: lab.wb.runs[run].job().state == "running", 90, "its state")
            reads = ("api/chat/conversations", "api/jobs", "api/contents", "api/auth/me", "workbench", "api/kernels")
            clients = Clients(lab.url, lab.token, writers=4, readers=4, reads=reads)
            clients.start()
            watched = ThreadPoolExecutor(1).submit(watch, lab.wb.runs[run])
            back = []
            for _ in range(RESTARTS):
                time.sleep(1)
                own.restart()
                up = time.monotonic()
                until(lambda up=up: clients.times and clients.times[-1] > up, 90, "a write after the restart")
                back.append(next(at for at in clients.times if at > up) - up)
            clients.stop()
            assert clients.bad == []
            assert trainer_pids(home) & before == before, "the run was touched"
            until(lambda: lab.wb.runs[run].job().state == "running", 90, "the run's state")
            lab.wb.jobs[run].cancel()
            seen = watched.result(timeout=60)
            assert seen == list(range(1, len(seen) + 1)), "the stream has a gap"
            database = Database(url)
            with database.read() as session:
                there = {row.id for row in session.query(Conversation)}
            database.close()
            assert clients.acknowledged <= there
            worst = max(back)
            print(
                f"{RESTARTS} restarts: {dict(clients.statuses)}, {len(clients.acknowledged)} writes kept;"
                f" writes go on after {worst:.1f} s at worst (aim {AIM} s)"
            )
