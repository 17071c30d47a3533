"""Clients that read and write as fast as a server answers, and remember what was acknowledged.

`python load.py URL TOKEN WRITERS READERS SECONDS` does so in a process of its own, and prints what it measured.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONVERSATIONS = "api/chat/conversations"


@dataclass
class Clients:
    """Threads that create conversations and list them, until they are stopped."""

    url: str
    token: str
    writers: int = 4
    readers: int = 4
    reads: tuple[str, ...] = ("api/chat/conversations", "api/jobs", "api/auth/me")
    #: Ids of the conversations that the server said it had made.
    acknowledged: set[str] = field(default_factory=set)
    #: Answers by their status; 0 for a connection that was refused or broke.
    statuses: Counter[int] = field(default_factory=Counter)
    #: When each write was acknowledged, in seconds of the monotonic clock.
    times: list[float] = field(default_factory=list)
    #: Seconds that each successful read, and each successful write took.
    read_seconds: list[float] = field(default_factory=list)
    write_seconds: list[float] = field(default_factory=list)
    #: Answers that are neither a success nor "try again".
    bad: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(self._write,)) for _ in range(self.writers)]
        self._threads += [threading.Thread(target=self._run, args=(self._read,)) for _ in range(self.readers)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait until every thread has."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, one: Callable[[http.client.HTTPConnection, int], None]) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                one(connection, number)
            except (OSError, http.client.HTTPException):
                self.statuses[0] += 1
                connection.close()
                time.sleep(0.01)
        connection.close()

    def _write(self, connection: http.client.HTTPConnection, number: int) -> None:
        begun = time.monotonic()
        content = self._ask(connection, "POST", CONVERSATIONS, json.dumps({"title": f"{number}"}).encode())
        if content is not None:
            self.write_seconds.append(time.monotonic() - begun)
            self.acknowledged.add(json.loads(content)["id"])
            self.times.append(time.monotonic())

    def _read(self, connection: http.client.HTTPConnection, number: int) -> None:
        begun = time.monotonic()
        if self._ask(connection, "GET", self.reads[number % len(self.reads)], None) is not None:
            self.read_seconds.append(time.monotonic() - begun)

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> bytes | None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, f"{urlsplit(self.url).path.rstrip('/')}/{path}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.statuses[answer.status] += 1
        if answer.status < 300:
            return content
        if answer.status == 503:
            time.sleep(0.02)
        else:
            self.bad.append(f"{answer.status} {method} {path}: {content[:200]!r}")
        return None


def main() -> None:
    """Load a server for some seconds, after two that do not count."""
    url, token, writers, readers, seconds = sys.argv[1:]
    reads = ("api/auth/me", "api/jobs?limit=20", "api/datasets?limit=20")
    clients = Clients(url, token, writers=int(writers), readers=int(readers), reads=reads)
    clients.start()
    time.sleep(2)
    clients.read_seconds.clear()
    clients.write_seconds.clear()
    time.sleep(float(seconds))
    measured = {"reads": list(clients.read_seconds), "writes": list(clients.write_seconds)}
    clients.stop()
    print(json.dumps(measured | {"bad": clients.bad}))


if __name__ == "__main__":
    main()
