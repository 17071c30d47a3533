"""What a request costs beside a plain handler doing the same SQL, and what each database bears at each pool size.

Figures are ratios of one run. `WORKBENCH_LONG=1` measures for longer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from load import CONVERSATIONS, Clients
from postgresql import free_port
from servers import until

from workbench.accounts import service
from workbench.accounts.people import owner
from workbench.core.database import Database
from workbench.jobs.files import live_servers

LONG = bool(os.environ.get("WORKBENCH_LONG"))
ROUNDS, SECONDS = (5, 3.0) if LONG else (3, 1.5)
POOL_SIZES = (1, 4, 8, 16)
SERVERS = (1, 2, 4) if LONG else (2,)
CLIENTS = 50
AIM = 1.3  # of a plain handler's CPU
TESTS = Path(__file__).parent.parent


def credential(url: str) -> str:
    """Return a token that is looked up in the database at every request."""
    database = Database(url)
    database.prepare()
    with database.write() as session:
        token = service.issue(session, owner(), "program", "job", "att_benchmark")
    database.close()
    return token


@contextmanager
def workbench_server(url: str, home: Path, pool_size: int = 8) -> Iterator[tuple[str, psutil.Process]]:
    home.mkdir(exist_ok=True)
    port = free_port()
    environment = os.environ | {"WORKBENCH_DATABASE_URL": url, "WORKBENCH_DATABASE_POOL_SIZE": str(pool_size)}
    command = [sys.executable, str(TESTS / "forking.py"), str(home), str(port), "f" * 48]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as own:
        assert own.stdin is not None
        assert own.stdout is not None
        own.stdin.write("\n")
        own.stdin.flush()
        pid = int(own.stdout.readline())
        until(lambda: any(one["pid"] == pid for one in live_servers(home)), 90, "the server's start")
        try:
            yield f"http://127.0.0.1:{port}/", psutil.Process(pid)
        finally:
            psutil.Process(pid).kill()


@contextmanager
def plain_server(url: str, pool_size: int = 8) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    command = [sys.executable, str(TESTS / "plain_server.py"), url, str(port), str(pool_size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as own:
        assert own.stdout is not None
        assert own.stdout.readline() == "ready\n"
        try:
            yield f"http://127.0.0.1:{port}/", psutil.Process(own.pid)
        finally:
            own.kill()


def cost(server: tuple[str, psutil.Process], token: str, read: str, *, writes: bool) -> float:
    """Return the CPU seconds of a request while 50 clients send them."""
    url, process = server
    clients = Clients(url, token, writers=CLIENTS * writes, readers=CLIENTS * (not writes), reads=(read,))
    clients.start()
    until(lambda: len(clients.read_seconds) + len(clients.write_seconds) > CLIENTS, 90, "the first answers")
    answered, used = sum(clients.statuses.values()), sum(process.cpu_times()[:2])
    time.sleep(SECONDS)
    answered, used = sum(clients.statuses.values()) - answered, sum(process.cpu_times()[:2]) - used
    clients.stop()
    assert clients.bad == []
    return used / answered


@pytest.mark.slow
def test_the_route_layer_beside_a_plain_handler(empty_database_url: str, tmp_path: Path) -> None:
    token = credential(empty_database_url)
    ratios: dict[str, list[float]] = {"GET": [], "POST": []}
    plain: dict[str, list[float]] = {"GET": [], "POST": []}
    with workbench_server(empty_database_url, tmp_path / "home") as ours, plain_server(empty_database_url) as other:
        made = httpx.post(
            f"{ours[0]}{CONVERSATIONS}", json={"title": "x"}, headers={"Authorization": f"Bearer {token}"}
        )
        read = f"{CONVERSATIONS}/{made.json()['id']}"
        for _ in range(ROUNDS):
            for method in ratios:
                plain[method].append(cost(other, token, read, writes=method == "POST"))
                ratios[method].append(cost(ours, token, read, writes=method == "POST") / plain[method][-1])
    for method, found in ratios.items():
        middle, low, high = statistics.median(found), min(found), max(found)
        each = statistics.median(plain[method]) * 1000
        engine = empty_database_url.partition(":")[0].partition("+")[0]
        print(f"{engine} {method}: {middle:.2f} ({low:.2f} to {high:.2f}) times {each:.2f} ms of CPU; aim {AIM}")
        assert middle < 2 * AIM  # a route layer that costs as much as the database is broken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000 if values else float("nan")


@pytest.mark.slow
def test_what_each_pool_size_bears(empty_database_url: str, tmp_path: Path) -> None:
    token = credential(empty_database_url)
    engine = empty_database_url.partition(":")[0].partition("+")[0]
    for size in POOL_SIZES if LONG else (1, 8):
        with workbench_server(empty_database_url, tmp_path / f"home-{size}", size) as (url, _):
            reads = ("api/auth/me", "api/jobs?limit=20", "api/datasets?limit=20")
            clients = Clients(url, token, writers=CLIENTS, readers=CLIENTS, reads=reads)
            clients.start()
            until(lambda clients=clients: len(clients.write_seconds) > 5, 60, "the first writes")
            for seconds in (clients.read_seconds, clients.write_seconds):
                seconds.clear()
            time.sleep(SECONDS * 2)
            reads_done, writes_done = list(clients.read_seconds), list(clients.write_seconds)
            clients.stop()
        assert clients.bad == []
        read_rate, write_rate = (len(done) / SECONDS / 2 for done in (reads_done, writes_done))
        read_p99, write_p99 = percentile(reads_done, 0.99), percentile(writes_done, 0.99)
        print(
            f"{engine}, pool of {size}: {read_rate:.0f} reads/s p99 {read_p99:.0f} ms,"
            f" {write_rate:.0f} writes/s p99 {write_p99:.0f} ms, {clients.statuses[503]} asked to come back"
        )


@pytest.mark.slow
def test_what_several_servers_bear(empty_database_url: str, tmp_path: Path) -> None:
    """50 writers and 50 readers, shared out to servers of one database; needs a core a server and some for the load."""
    token = credential(empty_database_url)
    engine = empty_database_url.partition(":")[0].partition("+")[0]
    for count in SERVERS:
        with ExitStack() as stack:
            homes = [tmp_path / f"home-{count}-{number}" for number in range(count)]
            urls = [stack.enter_context(workbench_server(empty_database_url, home))[0] for home in homes]
            given = [f"{CLIENTS // count}", f"{CLIENTS // count}", f"{SECONDS * 2}"]
            commands = [[sys.executable, str(TESTS / "load.py"), url, token, *given] for url in urls]
            loads = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)) for command in commands]
            found = [json.loads(load.communicate(timeout=120)[0]) for load in loads]
        assert all(one["bad"] == [] for one in found)
        reads, writes = ([second for one in found for second in one[name]] for name in ("reads", "writes"))
        assert reads
        assert writes
        print(
            f"{engine}, {count} servers on {os.cpu_count()} cores: {len(reads) / SECONDS / 2:.0f} reads/s p99"
            f" {percentile(reads, 0.99):.0f} ms, {len(writes) / SECONDS / 2:.0f} writes/s p50"
            f" {percentile(writes, 0.5):.0f} p99 {percentile(writes, 0.99):.0f} ms"
        )
