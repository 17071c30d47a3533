"""First token and tokens a second: the bare engine, the same through the gateway, and transformers' own server.

Ratios measured side by side in one run; nothing about time is asserted.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from endless import make_endless_model
from servers import Lab, running_lab

from workbench.chat.client import Deployment
from workbench.inference.template import ChatTemplate

TOKENS, ROUNDS, CLIENTS = 48, 3, (1, 4, 8)
MESSAGES = [{"role": "user", "content": "Tell me about Paris"}]
Ask = Callable[[], tuple[float, float]]


def timed(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds to the first text and to the end."""
    begun, first = time.perf_counter(), 0.0
    with client.stream("POST", path, json=body) as got:
        assert got.status_code == 200
        for line in got.iter_lines():
            if not first and has_text(line):
                first = time.perf_counter() - begun
    return first, time.perf_counter() - begun


def has_text(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    event = json.loads(line.removeprefix("data: "))
    return bool(event.get("content") or any(choice["delta"].get("content") for choice in event.get("choices", [])))


def bare(lab: Lab, deployment: Deployment, body: dict[str, Any], path: str) -> tuple[httpx.Client, str, dict[str, Any]]:
    """Return a client of the deployment's engine itself."""
    known = json.loads((lab.home / "jobs" / deployment.id / "1" / "engine.json").read_bytes())
    headers = {"Authorization": f"Bearer {known['key']}"}
    # a connection of its own for each answer, as the gateway has them
    transport = httpx.HTTPTransport(uds=known["socket"], limits=httpx.Limits(max_keepalive_connections=0))
    return httpx.Client(transport=transport, headers=headers, base_url="http://engine", timeout=300), path, body


def measure(ask: Ask, clients: int) -> tuple[float, float]:
    """Return the median seconds to the first text, and the tokens a second of all clients together."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [answer.result() for answer in [pool.submit(ask) for _ in range(clients)]]
    return statistics.median(first for first, _ in answers), clients * TOKENS / (time.perf_counter() - begun)


@pytest.mark.slow
def test_what_the_gateway_costs(tmp_path: Path) -> None:
    folder = make_endless_model(tmp_path / "model")
    ids = ChatTemplate.from_folder(folder).prompt_ids(MESSAGES)
    native = {"prompt": ids, "n_predict": TOKENS, "temperature": 0, "top_k": 1, "stream": True}
    chat = {"messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0, "stream": True}
    with running_lab(tmp_path / "home") as lab:
        served = lab.wb.deploy(str(folder), parallel=8).wait()
        theirs = lab.wb.deploy(str(folder), engine="transformers").wait()
        gateway = httpx.Client(base_url=lab.url, headers={"Authorization": f"Bearer {lab.token}"}, timeout=300)
        ways = {
            "bare": bare(lab, served, native, "/completion"),
            "gateway": (gateway, "api/openai/v1/chat/completions", chat | {"model": served.id}),
            "transformers": bare(lab, theirs, chat | {"model": str(folder)}, "/v1/chat/completions"),
        }
        for way in ways.values():
            timed(*way)
        for clients in CLIENTS:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for turn in range(ROUNDS):
                for name in sorted(ways, reverse=turn % 2 == 1):
                    found[name].append(measure(lambda way=ways[name]: timed(*way), clients))  # type: ignore[misc]
            first = {name: statistics.median(each for each, _ in figures) for name, figures in found.items()}
            rate = {name: statistics.median(each for _, each in figures) for name, figures in found.items()}
            print(
                f"{clients} clients: first text bare {first['bare'] * 1000:.0f} ms,"
                f" gateway {(first['gateway'] - first['bare']) * 1000:+.0f} ms (aim: at most +20),"
                f" transformers {first['transformers'] / first['bare']:.1f} times;"
                f" tokens/s bare {rate['bare']:.0f}, gateway {rate['gateway'] / rate['bare']:.2f} times (aim: 0.95),"
                f" transformers {rate['transformers'] / rate['bare']:.2f} times"
            )
        for client, _, _ in ways.values():
            client.close()
