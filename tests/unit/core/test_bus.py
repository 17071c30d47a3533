from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import postgresql

from workbench.core import events
from workbench.core.bus import EventBus
from workbench.core.database import Database


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[EventBus]:
    bus = EventBus(database)
    bus.start(asyncio.get_running_loop())
    try:
        yield bus
    finally:
        await asyncio.to_thread(bus.close)


def publish(database: Database, topic: str) -> None:
    with database.write() as session:
        events.publish(session, topic, "state", {})


def test_a_subscriber_wakes_when_its_topic_moves(database: Database) -> None:
    async def subscribe() -> None:
        async with running(database) as bus:
            with bus.subscribe("job:1") as mailbox:
                await asyncio.to_thread(publish, database, "job:1")
                assert await mailbox.wait(10)

    asyncio.run(subscribe())


def test_an_event_right_after_the_start_is_not_missed(database: Database) -> None:
    """The bus knows where the feed is when `start` returns, not when its thread gets to run."""

    async def subscribe() -> None:
        async with running(database) as bus:
            publish(database, "job:1")
            with bus.subscribe("job:1") as mailbox:
                assert await mailbox.wait(10)

    asyncio.run(subscribe())


def test_another_topic_wakes_nobody(database: Database) -> None:
    async def subscribe() -> None:
        async with running(database) as bus:
            with bus.subscribe("job:1") as one, bus.subscribe("job:2") as two:
                await asyncio.to_thread(publish, database, "job:2")
                assert await two.wait(10)
                assert not await one.wait(0)

    asyncio.run(subscribe())


def test_all_subscribers_of_a_topic_wake(database: Database) -> None:
    async def subscribe() -> None:
        async with running(database) as bus:
            with bus.subscribe("job:1") as one, bus.subscribe("job:1") as two:
                await asyncio.to_thread(publish, database, "job:1")
                assert await asyncio.gather(one.wait(10), two.wait(10)) == [True, True]

    asyncio.run(subscribe())


def test_an_event_that_comes_before_the_wait_is_kept(database: Database) -> None:
    async def subscribe() -> None:
        async with running(database) as bus:
            with bus.subscribe("job:1") as mailbox, bus.subscribe("job:1") as other:
                await asyncio.to_thread(publish, database, "job:1")
                assert await other.wait(10)
                assert await mailbox.wait(0)
                assert not await mailbox.wait(0)

    asyncio.run(subscribe())


def test_a_subscription_that_ended_leaves_the_others(database: Database) -> None:
    async def subscribe() -> None:
        async with running(database) as bus:
            with bus.subscribe("job:1") as mailbox:
                with bus.subscribe("job:1"):
                    pass
                await asyncio.to_thread(publish, database, "job:1")
                assert await mailbox.wait(10)

    asyncio.run(subscribe())


def test_what_happened_while_postgresql_was_down_is_delivered() -> None:
    """The watcher connects anew, and reads on from the last event that it has seen."""
    with postgresql.cluster(durable=False) as own:
        database = Database(own.url)
        database.upgrade()

        async def subscribe() -> None:
            async with running(database) as bus:
                with bus.subscribe("job:1") as mailbox:
                    await asyncio.to_thread(publish, database, "job:1")
                    assert await mailbox.wait(10)
                    await asyncio.to_thread(own.restart)
                    await asyncio.to_thread(publish, database, "job:1")
                    assert await mailbox.wait(20)

        asyncio.run(subscribe())
        database.close()
