"""Decides which waiting job starts where, and says why each of the others waits. Pure: it knows no database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NAMED = 3  # jobs that a reason names at most


@dataclass(frozen=True)
class Waiting:
    """A queued job and what it needs."""

    id: str
    title: str
    cpus: int
    gpus: int
    owner_id: str = ""


@dataclass
class Room:
    """A live host: what it has, and what is free."""

    host_id: str
    cpus: int
    gpus: int
    free_cpus: int
    free_gpus: int
    #: The jobs that hold the rest.
    holders: list[Waiting] = field(default_factory=list)

    def could_hold(self, job: Waiting) -> bool:
        """Tell whether the job fits this host when it is empty."""
        return job.cpus <= self.cpus and job.gpus <= self.gpus

    def fits(self, job: Waiting) -> bool:
        """Tell whether the job fits now."""
        return job.cpus <= self.free_cpus and job.gpus <= self.free_gpus

    def take(self, job: Waiting) -> None:
        """Give the job its share; a host whose settings were lowered may hold more than it has."""
        self.free_cpus = max(0, self.free_cpus - job.cpus)
        self.free_gpus = max(0, self.free_gpus - job.gpus)
        if job.cpus or job.gpus:
            self.holders.append(job)


@dataclass(frozen=True)
class Plan:
    """The scheduler's answer."""

    #: Job id to host id.
    assigned: dict[str, str]
    #: Job id to the reason why it waits, in words: of the first in line, and of what fits no host.
    reasons: dict[str, str]


def plan(queue: Iterable[Waiting], rooms: list[Room]) -> Plan:
    """Assign jobs in the queue's order, first fit.

    A job that fits some host but not now is waited for: no later job overtakes it. One that fits no host blocks nobody.
    """
    assigned: dict[str, str] = {}
    reasons: dict[str, str] = {}
    full = False
    for job in queue:
        possible = [room for room in rooms if room.could_hold(job)]
        room = next((room for room in possible if room.fits(job)), None)
        if not possible:
            reasons[job.id] = _never(job, rooms)
        elif full:
            continue  # it waits for those before it
        elif room is None:
            full = True
            reasons[job.id] = _not_now(job, possible)
        else:
            room.take(job)
            assigned[job.id] = room.host_id
    return Plan(assigned, reasons)


def _never(job: Waiting, rooms: list[Room]) -> str:
    if not rooms:
        return "No agent is running, so nothing can start: run `workbench agent`."
    cpus, gpus = max(room.cpus for room in rooms), max(room.gpus for room in rooms)
    return f"It needs {_amount(job.cpus, job.gpus)}; the largest host has {_amount(cpus, gpus)}."


def _not_now(job: Waiting, rooms: list[Room]) -> str:
    best = max(rooms, key=lambda room: (room.free_gpus, room.free_cpus))
    own = [f"“{holder.title}”" for holder in best.holders if holder.owner_id == job.owner_id]
    named = own[:NAMED]  # its owner may not know of other people's
    unnamed = len(best.holders) - len(named)
    held = [*named, f"{unnamed} other job{'s' * (unnamed != 1)}"] if unnamed else named
    run = "runs" if len(best.holders) == 1 else "run"
    free = _amount(best.free_cpus, best.free_gpus)
    return f"It needs {_amount(job.cpus, job.gpus)}; {free} free on {best.host_id} while {', '.join(held)} {run}."


def _amount(cpus: int, gpus: int) -> str:
    words = [f"{cpus} CPU{'s' * (cpus != 1)}"]
    if gpus:
        words.append(f"{gpus} GPU{'s' * (gpus != 1)}")
    return " and ".join(words)
