from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from workbench.jobs.scheduler import Room, Waiting, plan

SIZES = st.integers(0, 9)


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    needs = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=12))
    return [Waiting(f"job_{n:02}", f"job {n}", cpus, gpus) for n, (cpus, gpus) in enumerate(needs)]


@st.composite
def hosts(draw: st.DrawFn) -> list[Room]:
    """Hosts of which some are partly taken; one may hold more than it has, since its settings were lowered."""
    rooms = []
    for number in range(draw(st.integers(0, 3))):
        room = Room(f"host{number}", *[draw(st.integers(1, 8)), draw(st.integers(0, 4))] * 2)
        if draw(st.booleans()):
            room.take(Waiting("old", "an old job", draw(st.integers(1, 9)), draw(st.integers(0, 5))))
        rooms.append(room)
    return rooms


@given(queue=queues(), rooms=hosts())
def test_no_host_is_given_more_than_it_has_free(queue: list[Waiting], rooms: list[Room]) -> None:
    before = {room.host_id: (room.free_cpus, room.free_gpus) for room in rooms}
    made = plan(queue, rooms)
    for host_id, (cpus, gpus) in before.items():
        given = [job for job in queue if made.assigned.get(job.id) == host_id]
        assert not given or sum(job.cpus for job in given) <= cpus
        assert not given or sum(job.gpus for job in given) <= gpus


@given(queue=queues(), rooms=hosts())
def test_nobody_overtakes_a_job_that_could_run(queue: list[Waiting], rooms: list[Room]) -> None:
    able = [job for job in queue if any(room.could_hold(job) for room in rooms)]
    made = plan(queue, rooms)
    started = [job.id in made.assigned for job in able]
    assert started == sorted(started, reverse=True)


@given(queue=queues(), rooms=hosts())
def test_a_job_that_fits_no_host_blocks_nobody(queue: list[Waiting], rooms: list[Room]) -> None:
    able = [job for job in queue if any(room.could_hold(job) for room in rooms)]
    assert plan(queue, copy.deepcopy(rooms)).assigned == plan(able, rooms).assigned


@given(queue=queues(), rooms=hosts())
def test_every_job_starts_or_has_a_reason_or_one_before_it_has(queue: list[Waiting], rooms: list[Room]) -> None:
    made = plan(queue, rooms)
    able = [job.id for job in queue if any(room.could_hold(job) for room in rooms)]
    first = next((place for place, job_id in enumerate(able) if job_id in made.reasons), len(able))
    assert made.assigned.keys() == set(able[:first])
    assert made.reasons.keys() == {job.id for job in queue} - set(able) | set(able[first : first + 1])
    assert not made.assigned.keys() & made.reasons.keys()
    assert all(reason[0].isupper() and reason[-1] in ".`" and "-" not in reason for reason in made.reasons.values())


@given(queue=queues(), rooms=hosts())
def test_no_host_idles_while_the_first_in_line_would_fit(queue: list[Waiting], rooms: list[Room]) -> None:
    made = plan(queue, rooms)
    first = next((job for job in queue if job.id in made.reasons), None)
    assert first is None or not any(room.could_hold(first) and room.fits(first) for room in rooms)


def room(host_id: str = "here", cpus: int = 4, gpus: int = 1) -> Room:
    return Room(host_id, cpus, gpus, cpus, gpus)


def test_jobs_start_in_the_order_of_the_queue() -> None:
    made = plan([Waiting("a", "A", 2, 0), Waiting("b", "B", 2, 1), Waiting("c", "C", 1, 0)], [room()])
    assert made.assigned == {"a": "here", "b": "here"}
    assert made.reasons == {"c": "It needs 1 CPU; 0 CPUs free on here while “A”, “B” run."}


def test_the_reason_names_what_the_first_in_line_waits_for() -> None:
    busy = room()
    busy.take(Waiting("x", "Tune Qwen", 1, 1))
    made = plan([Waiting("a", "A", 1, 1), Waiting("b", "B", 1, 0)], [busy])
    assert made.reasons == {"a": "It needs 1 CPU and 1 GPU; 3 CPUs free on here while “Tune Qwen” runs."}


def test_a_reason_names_no_job_of_others() -> None:
    busy = room()
    for owner, title in (("ada", "Mine"), ("ben", "Secret"), ("eve", "Hidden")):
        busy.take(Waiting(title, title, 1, 0, owner))
    made = plan([Waiting("a", "A", 4, 0, "ada")], [busy])
    assert made.reasons["a"].endswith("while “Mine”, 2 other jobs run.")
    made = plan([Waiting("a", "A", 4, 0, "zoe")], [busy])
    assert made.reasons["a"].endswith("while 3 other jobs run.")


def test_a_job_that_can_never_run_says_what_the_largest_host_has() -> None:
    made = plan([Waiting("a", "A", 1, 8)], [room(), room("big", 64, 2)])
    assert made.reasons["a"] == "It needs 1 CPU and 8 GPUs; the largest host has 64 CPUs and 2 GPUs."


def test_without_an_agent_every_reason_says_what_to_run() -> None:
    made = plan([Waiting("a", "A", 1, 0), Waiting("b", "B", 1, 0)], [])
    assert all("workbench agent" in reason for reason in made.reasons.values())


def test_a_host_that_holds_more_than_it_has_does_not_show_less_than_nothing() -> None:
    shrunk = room(cpus=2)
    shrunk.take(Waiting("x", "X", 4, 0))
    made = plan([Waiting("a", "A", 1, 0)], [shrunk])
    assert made.reasons["a"] == "It needs 1 CPU; 0 CPUs and 1 GPU free on here while “X” runs."


def test_a_job_without_needs_starts_beside_others_and_holds_nothing() -> None:
    room = Room("here", *[1, 0] * 2)
    made = plan([Waiting("n", "notebook", 0, 0), Waiting("a", "first", 1, 0), Waiting("m", "second", 0, 0)], [room])
    assert made.assigned == {"n": "here", "a": "here", "m": "here"}
    assert [holder.title for holder in room.holders] == ["first"]
