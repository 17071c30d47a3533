"""Brings the event feed into an asyncio loop: streams subscribe to a topic and are woken when it moves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from workbench.core import events
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway

WAIT = 0.5  # seconds between two looks at the feed when nothing is announced
RETRY = 1.0  # seconds after a lost database

logger = logging.getLogger(__name__)


class Mailbox:
    """Wakes one subscriber."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def put(self) -> None:
        """Note a change."""
        self._changed.set()

    async def wait(self, timeout: float) -> bool:
        """Return True when the topic has moved since the last call, False after `timeout` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout)
        changed = self._changed.is_set()
        self._changed.clear()
        return changed


class EventBus:
    """One watching thread for all streams of a server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mailboxes: dict[str, set[Mailbox]] = defaultdict(set)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workbench-events", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch; `loop` is where subscribers live."""
        self._loop = loop
        self._watcher = events.watch(self._database)
        with self._database.read() as session:
            self._seen = events.newest(session)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        self._thread.join(timeout=5)

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[Mailbox]:
        """Open a mailbox for a topic."""
        mailbox = Mailbox()
        self._mailboxes[topic].add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes[topic].discard(mailbox)
            if not self._mailboxes[topic]:
                del self._mailboxes[topic]

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._watcher.wait(WAIT)
            try:
                self._seen = self._dispatch(self._seen)
            except DatabaseAway as error:
                logger.warning("The event feed cannot be read: %s", error)
                time.sleep(RETRY)
            except Exception:
                logger.exception("The event feed cannot be read; trying again")
                time.sleep(RETRY)
        self._watcher.close()

    def _dispatch(self, seen: int) -> int:
        with self._database.read() as session:
            fresh = events.after(session, seen)
        if fresh and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, {event.topic for event in fresh})
        return fresh[-1].seq if fresh else seen

    def _deliver(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for mailbox in self._mailboxes.get(topic, ()):
                mailbox.put()
