from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import until
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from workbench.core import events
from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.tables import Event, IdempotencyKey

WRITERS, EACH = 4, 25


@pytest.fixture
def on_postgresql(postgresql_database: str) -> Iterator[Database]:
    database = Database(postgresql_database)
    with database.write() as session:
        session.execute(text("TRUNCATE events, idempotency_keys"))
    yield database
    database.close()


def publish(database: Database, *kinds: str, topic: str = "job:1") -> None:
    with database.write() as session:
        for kind in kinds:
            events.publish(session, topic, kind, {})


def kinds(database: Database, seq: int = 0, topic: str | None = None) -> list[str]:
    with database.read() as session:
        return [event.type for event in events.after(session, seq, topic)]


def test_events_are_read_in_the_order_in_which_they_were_published(database: Database) -> None:
    publish(database, "a", "b", "c")
    publish(database, "d")
    assert kinds(database) == ["a", "b", "c", "d"]


def test_a_reader_goes_on_where_it_was(database: Database) -> None:
    publish(database, "a", "b")
    with database.read() as session:
        seen = events.newest(session)
    publish(database, "c")
    assert kinds(database, seen) == ["c"]


def test_a_topic_is_read_alone(database: Database) -> None:
    publish(database, "a")
    publish(database, "b", topic="job:2")
    assert kinds(database, topic="job:2") == ["b"]


def test_a_rolled_back_transaction_publishes_nothing(database: Database) -> None:
    with database.write() as session:
        events.publish(session, "job:1", "lost", {})
        session.rollback()
    publish(database, "kept")
    assert kinds(database) == ["kept"]


def test_the_newest_of_an_empty_feed_is_zero(database: Database) -> None:
    with database.read() as session:
        assert events.newest(session) == 0


def test_a_reader_of_higher_numbers_misses_no_event(database: Database) -> None:
    """Transactions of different length commit out of the order in which they began."""

    def write(writer: int) -> None:
        for number in range(EACH):
            with database.write() as session:
                events.publish(session, "job:1", f"{writer}.{number}", {})
                if writer % 2 and database.dialect == "postgresql":
                    session.execute(text("SELECT pg_sleep(0.003)"))

    read: list[str] = []
    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(write, writer) for writer in range(WRITERS)]
        seen = 0
        while len(read) < WRITERS * EACH:
            finished = all(future.done() for future in writing)
            with database.read() as session:
                for event in events.after(session, seen, limit=7):
                    read.append(event.type)
                    seen = event.seq
            assert not (finished and seen == last(database) and len(read) < WRITERS * EACH), "an event was missed"
    assert sorted(read) == sorted(f"{writer}.{number}" for writer in range(WRITERS) for number in range(EACH))


def last(database: Database) -> int:
    with database.read() as session:
        return events.newest(session)


def test_a_number_is_not_seen_before_a_lower_one(on_postgresql: Database) -> None:
    """What loses an event: the second transaction commits while the first still holds a lower number."""
    first = Session(on_postgresql.engine)
    events.publish(first, "job:1", "first", {})
    publish(on_postgresql, "second")
    with on_postgresql.read() as session:
        seen = events.newest(session)
    first.commit()
    first.close()
    assert kinds(on_postgresql, seen) == ["first"]


def test_the_order_of_publishing_and_changing_rows_cannot_deadlock(on_postgresql: Database) -> None:
    with on_postgresql.write() as session:
        session.add(IdempotencyKey(user_id="ada", key="k", request_sha256="", answer={}, at=utcnow()))
    both = threading.Barrier(2)

    def change_then_publish() -> None:
        with on_postgresql.write() as session:
            session.execute(update(IdempotencyKey).values(request_sha256="1"))
            both.wait(10)
            events.publish(session, "t", "changed", {})

    def publish_then_change() -> None:
        with on_postgresql.write() as session:
            events.publish(session, "t", "about to change", {})
            both.wait(10)
            session.execute(update(IdempotencyKey).values(request_sha256="2"))

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(change_then_publish), threads.submit(publish_then_change)]:
            future.result()
    assert sorted(kinds(on_postgresql)) == ["about to change", "changed"]


def test_a_watcher_wakes_when_another_connection_commits(database: Database) -> None:
    watcher = events.watch(database)
    publish(database, "a")
    assert watcher.wait(10)
    publish(database, "b")
    assert watcher.wait(10)
    watcher.close()


def test_a_watcher_gives_up_after_its_time(database: Database) -> None:
    watcher = events.watch(database)
    assert not watcher.wait(0.1)
    watcher.close()


def test_a_waiting_watcher_wakes_at_once(database: Database) -> None:
    watcher = events.watch(database)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(watcher.wait, 30)
        assert not waiting.done()
        publish(database, "a")
        assert waiting.result(timeout=5)
    watcher.close()


def test_a_watcher_listens_again_after_its_connection_was_lost(on_postgresql: Database) -> None:
    watcher = events.watch(on_postgresql)
    ended = text(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE query = 'LISTEN workbench_events' AND datname = current_database()"
    )
    with on_postgresql.write() as session:
        assert session.scalar(ended) == 1
    assert watcher.wait(1), "a loss counts as a change: something may have been missed"
    publish(on_postgresql, "a")
    until(lambda: watcher.wait(1))
    assert kinds(on_postgresql) == ["a"]
    watcher.close()


def test_an_event_says_when_it_was_published(database: Database) -> None:
    before = utcnow()
    publish(database, "a")
    with database.read() as session:
        event: Event = events.after(session, 0)[0]
    assert before <= event.at <= utcnow()
