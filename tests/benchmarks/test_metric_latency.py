"""How long a metric takes from the trainer's log line to a subscriber. Times are reported, exactness is asserted."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path

import pytest
from servers import running_lab
from websockets.asyncio.client import connect

from workbench.testing import demo_rows, make_model

METRICS = 1000
CLIENTS = 20
AIM = {"p50": 0.1, "p95": 1.0}  # seconds


async def subscribe(url: str, token: str, after: int = 0) -> list[tuple[int, float]]:
    """Follow a run to its end; return (sequence number, seconds from stamp to arrival) of each metric."""
    seen = []
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(f"{url}?after={after}", additional_headers=headers, max_size=2**24) as connection:
        async for message in connection:
            arrived = time.time()
            content = json.loads(message)
            if content["type"] == "metric":
                seen.append((content["seq"], arrived - content["at"]))
    return seen


async def subscribe_all(url: str, token: str) -> list[list[tuple[int, float]]]:
    return await asyncio.gather(*(subscribe(url, token) for _ in range(CLIENTS)))


@pytest.mark.slow
def test_metrics_reach_twenty_subscribers(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", "qwen3", hidden_size=32)
    with running_lab(tmp_path / "home") as lab:
        data = lab.wb.datasets.upload(demo_rows(), name="rows")
        options = {"max_steps": METRICS, "batch_size": 8, "max_length": 64, "logging_steps": 1, "save_steps": 10_000}
        run = lab.wb.train(base=str(base), data=data["train"], **options)
        url = f"{lab.url.replace('http', 'ws', 1)}ws/training/{run.id}/metrics"
        clients = asyncio.run(subscribe_all(url, lab.token))
        missed = asyncio.run(subscribe(url, lab.token, after=400))
    for seen in clients:
        assert [seq for seq, _ in seen] == list(range(1, METRICS + 1))
    assert [seq for seq, _ in missed] == list(range(401, METRICS + 1))
    delays = sorted(delay for seen in clients for _, delay in seen)
    p50, p95 = statistics.median(delays), delays[int(0.95 * len(delays))]
    print(f"\nmetric latency, {METRICS} metrics to {CLIENTS} clients:", end=" ")
    print(
        f"p50 {1000 * p50:.0f} ms (aim {1000 * AIM['p50']:.0f}), p95 {1000 * p95:.0f} ms (aim {1000 * AIM['p95']:.0f})"
    )
