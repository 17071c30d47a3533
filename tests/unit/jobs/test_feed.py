from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from workbench.accounts.people import owner
from workbench.core.bus import EventBus
from workbench.core.clock import utcnow
from workbench.core.context import StreamContext
from workbench.jobs.feed import follow
from workbench.jobs.schemas import Message, MetricMessage, ResumedMessage, StateMessage
from workbench.jobs.service import NO_AGENT, JobNotFound
from workbench.jobs.tables import Host as HostRow

from .conftest import Host

TIMEOUT = 30.0  # seconds


@asynccontextmanager
async def listening(host: Host) -> AsyncIterator[StreamContext]:
    bus = EventBus(host.database)
    bus.start(asyncio.get_running_loop())
    try:
        yield StreamContext(host.database, bus, owner(), host.settings)
    finally:
        await asyncio.to_thread(bus.close)


async def collect(context: StreamContext, job_id: str, after: int, note: Callable[[Message], None]) -> list[Message]:
    messages = []
    async for message in follow(context, job_id, after):
        messages.append(message)
        note(message)
    return messages


def stream(
    host: Host, job_id: str, *afters: int, note: Callable[[Message], None] = lambda _: None
) -> list[list[Message]]:
    """Follow a job to its end, once from each of some sequence numbers, all at the same time."""

    async def run() -> list[list[Message]]:
        async with listening(host) as context:
            streams = (collect(context, job_id, after, note) for after in afters or (0,))
            return await asyncio.wait_for(asyncio.gather(*streams), TIMEOUT)

    return asyncio.run(run())


def seqs(messages: list[Message]) -> list[int]:
    return [message.seq for message in messages if isinstance(message, MetricMessage)]


def states(messages: list[Message]) -> list[str]:
    return [message.job.state for message in messages if isinstance(message, StateMessage)]


@pytest.fixture
def working(host: Host) -> Iterator[Callable[[], None]]:
    """Begin to carry the host's jobs through, in a thread."""
    leave = threading.Event()

    def work() -> None:
        while not leave.wait(0.02):
            host.look()

    thread = threading.Thread(target=work)
    yield thread.start
    leave.set()
    if thread.ident is not None:
        thread.join()


def test_an_ended_job_is_replayed(host: Host) -> None:
    job_id = host.start(steps=3)
    host.until(job_id, "succeeded")
    (messages,) = stream(host, job_id)
    assert (states(messages), seqs(messages)) == (["succeeded"], [1, 2, 3])
    assert isinstance(messages[0], StateMessage)


def test_a_replay_begins_after_what_was_received(host: Host) -> None:
    job_id = host.start(steps=5)
    host.until(job_id, "succeeded")
    assert [seqs(messages) for messages in stream(host, job_id, 0, 3, 5, 99)] == [[1, 2, 3, 4, 5], [4, 5], [], []]


def test_a_running_job_is_followed_to_its_end(host: Host, working: Callable[[], None]) -> None:
    job_id = host.start(steps=40, pause=0.01)
    working()
    for messages, after in zip(stream(host, job_id, 0, 7), (0, 7), strict=True):
        assert seqs(messages) == list(range(after + 1, 41)), "each line comes exactly once and in order"
        assert isinstance(messages[0], StateMessage)
        assert isinstance(messages[-1], StateMessage)
        told = states(messages)
        assert told[-1] == "succeeded"
        assert list(dict.fromkeys(told)) == [name for name in ("assigned", "running", "succeeded") if name in told]


def test_a_subscriber_in_the_middle_misses_nothing_and_gets_nothing_twice(
    host: Host, working: Callable[[], None]
) -> None:
    """The stored lines and the file's tail overlap; the sequence number tells them apart."""
    job_id = host.start("wait", steps=20)
    host.until_logged(job_id)
    host.look()
    with host.folder(job_id).metrics.open("a") as file:
        for seq in range(21, 31):
            file.write(f'{{"seq":{seq},"step":{seq},"total_steps":30,"at":0,"values":{{}}}}\n')

    def go_on(message: Message) -> None:
        if isinstance(message, MetricMessage) and message.seq == 30:
            (host.folder(job_id).path / "go").touch()

    working()
    for messages in stream(host, job_id, 0, note=go_on):
        assert seqs(messages) == list(range(1, 31))


def test_a_resumed_attempt_says_from_where(host: Host, working: Callable[[], None]) -> None:
    job_id = host.start("killed", steps=5, resume_step=3)
    host.until(job_id, "failed")
    host.resume(job_id)
    host.assign(job_id)
    working()
    for messages in stream(host, job_id, 0, 5):
        resumed = next(message for message in messages if isinstance(message, ResumedMessage))
        assert (resumed.attempt_no, resumed.step) == (2, 3)
        new = [message for message in messages if isinstance(message, MetricMessage) and message.attempt_no == 2]
        assert messages.index(resumed) < messages.index(new[0])
        assert [line.seq for line in new] == [6, 7, 8, 9, 10]
        assert states(messages)[-1] == "failed"


def test_a_replay_leaves_out_what_a_resumed_attempt_took_back(host: Host) -> None:
    job_id = host.start("killed", steps=5, resume_step=3)
    host.until(job_id, "failed")
    host.resume(job_id)
    host.assign(job_id)
    host.until(job_id, "failed")
    whole, late, later = stream(host, job_id, 0, 5, 8)
    assert seqs(whole) == [1, 2, 3, 6, 7, 8, 9, 10]
    assert [message.step for message in whole if isinstance(message, ResumedMessage)] == [3]
    assert [message.step for message in late if isinstance(message, ResumedMessage)] == [3]
    assert (seqs(late), seqs(later)) == ([6, 7, 8, 9, 10], [9, 10])
    assert not any(isinstance(message, ResumedMessage) for message in later)


def test_one_stream_lasts_through_the_loss_of_an_attempt(host: Host, working: Callable[[], None]) -> None:
    job_id = host.start("wait", steps=4, resume_step=2)

    def disturb(message: Message) -> None:
        if isinstance(message, MetricMessage) and message.seq == 4:
            host.kill_supervisor(job_id)
        if isinstance(message, StateMessage) and message.job.state == "queued":
            host.assign(job_id)
        if isinstance(message, MetricMessage) and message.seq == 8:
            (host.folder(job_id).path / "go").touch()

    working()
    (messages,) = stream(host, job_id, note=disturb)
    assert seqs(messages) == list(range(1, 9))
    assert [message.step for message in messages if isinstance(message, ResumedMessage)] == [2]
    assert states(messages)[-1] == "succeeded"


def test_a_job_cancelled_while_it_waits_ends_its_stream(host: Host) -> None:
    job_id = host.submit()

    def cancel(message: Message) -> None:
        if isinstance(message, StateMessage) and message.job.state == "queued":
            host.cancel(job_id)

    (messages,) = stream(host, job_id, note=cancel)
    assert states(messages) == ["queued", "cancelled"]


def test_an_unknown_job_has_no_stream(host: Host) -> None:
    with pytest.raises(JobNotFound):
        stream(host, "job_x")


def test_why_a_job_waits_is_told_also_when_nothing_happens_to_the_job(host: Host) -> None:
    job_id = host.submit()
    reasons = []

    def note(message: Message) -> None:
        assert isinstance(message, StateMessage)
        reasons.append(message.job.wait_reason)
        if len(reasons) == 1:
            with host.database.write() as session:
                session.add(HostRow(id="here", cpus=1, gpus=0, version="1", heartbeat_at=utcnow()))
        elif len(reasons) == 2:
            host.cancel(job_id)

    stream(host, job_id, note=note)
    assert reasons == [NO_AGENT, None, None]
