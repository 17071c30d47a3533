"""Who asks, and with what: the first argument of every service function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.schemas import Ref
from workbench.core.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from workbench.core.bus import EventBus
    from workbench.core.database import Database


@dataclass(frozen=True)
class Principal:
    """An authenticated caller."""

    id: str
    name: str
    permissions: frozenset[str]
    #: Whose token the call came with: a kernel, an attempt of a job, or a personal token; None for the owner's own.
    holder: Ref | None = None


@dataclass(frozen=True)
class Context:
    """One request, job step or command: its caller, its transaction and the settings."""

    session: Session
    user: Principal
    settings: Settings


@dataclass(frozen=True)
class StreamContext:
    """A long-lived stream: it opens a short session whenever it needs one, and holds none."""

    database: Database
    bus: EventBus
    user: Principal
    settings: Settings
