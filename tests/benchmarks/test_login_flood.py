"""What a flood of bad logins costs the others, and what the time of an answer tells about an address."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from people import make_user
from servers import Lab, running_lab

FLOOD = 1000
RATE = 200  # bad logins a second
SAMPLES = 250  # of known, and as many of unknown addresses
READS = 300

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("flood") / "home", WORKBENCH_AGENT="external") as lab:
        yield lab


@pytest.fixture(scope="module")
def emails(lab: Lab) -> list[str]:
    database = lab.database()
    with database.write() as session:
        found = [make_user(session, f"flooded{number}").email for number in range(10)]
    database.close()
    return found


def read_times(lab: Lab, count: int) -> list[float]:
    """Return the seconds that each of some authenticated GETs takes."""
    taken = []
    with httpx.Client(headers={"Authorization": f"Bearer {lab.token}"}, timeout=60) as client:
        for _ in range(count):
            begun = time.perf_counter()
            client.get(f"{lab.url}api/datasets").raise_for_status()
            taken.append(time.perf_counter() - begun)
    return taken


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[-1]


def test_a_flood_of_bad_logins(lab: Lab, emails: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    read_times(lab, 20)
    alone = read_times(lab, READS)
    body = {"email": emails[0], "password": "a wrong password"}
    with httpx.Client(base_url=lab.url, timeout=120) as client, ThreadPoolExecutor(20) as threads:

        def bad_login(number: int) -> int:
            time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
            return client.post("api/auth/login", json=body).status_code

        begun = time.perf_counter()
        flood = [threads.submit(bad_login, number) for number in range(FLOOD)]
        beside = []
        while not all(future.done() for future in flood):
            beside += read_times(lab, 5)
        seconds = time.perf_counter() - begun
        answers = Counter(future.result() for future in flood)
    assert answers[401] <= 10, "no more than ten were hashed"
    assert set(answers) <= {401, 429, 503}
    with capsys.disabled():
        print(
            f"\n{FLOOD} bad logins in {seconds:.1f} s: {dict(answers)}; GET p99 alone {p99(alone) * 1e3:.0f} ms, beside"
            f" them {p99(beside) * 1e3:.0f} ms of {len(beside)}: {p99(beside) / p99(alone):.2f} times"
        )


def test_the_time_of_an_answer_tells_nothing(
    lab: Lab, emails: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    taken: dict[str, list[float]] = {"known": [], "unknown": []}
    # spread over accounts and addresses of this host, so that no limit answers instead of the password
    clients = [
        httpx.Client(base_url=lab.url, transport=httpx.HTTPTransport(local_address=f"127.0.0.{number}"), timeout=60)
        for number in range(2, 12)
    ]
    spread = itertools.product(range(6), emails[1:], clients)
    for number, (_, email, client) in zip(range(SAMPLES), spread, strict=False):
        for kind in ("known", "unknown") if number % 2 else ("unknown", "known"):
            body = {"email": email if kind == "known" else f"no-{email}", "password": "a wrong password"}
            begun = time.perf_counter()
            status = client.post("api/auth/login", json=body).status_code
            taken[kind].append(time.perf_counter() - begun)
            assert status == 401
    for client in clients:
        client.close()
    known, unknown = (statistics.median(taken[kind]) for kind in ("known", "unknown"))
    with capsys.disabled():
        print(
            f"\nmedian of {SAMPLES}: known {known * 1e3:.1f} ms, unknown {unknown * 1e3:.1f} ms: {known / unknown:.3f}"
        )
    assert 0.9 < known / unknown < 1.1
