"""Who asks, and with what: the first argument of every service function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.schemas import Ref
from workbench.core.settings import Settings
from workbench.core.texts import Language

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
    #: Ids of the teams that the caller is a member of.
    teams: frozenset[str] = frozenset()
    #: The login that the call came with, when it came with one.
    login_id: str | None = None


@dataclass(frozen=True)
class Request:
    """What is known of an HTTP request beyond its content."""

    #: Where it came from.
    address: str = ""
    #: What the client calls itself.
    agent: str = ""
    #: URL at which the client reaches the server.
    base_url: str = ""
    language: Language = "en"


#: A call that came by no request: a job step or a command.
DIRECT = Request()
#: Who has shown no credential.
ANONYMOUS = Principal("", "Nobody", frozenset())


@dataclass(frozen=True)
class Context:
    """One request, job step or command: its caller, its transaction and the settings.

    From here on the session shows its caller nothing that they may not see (`core.ownership`).
    """

    session: Session
    user: Principal
    settings: Settings
    request: Request = DIRECT
    #: What the audit log shall say of the request, beyond its action and object.
    noted: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session.info["user"] = self.user


@dataclass(frozen=True)
class StreamContext:
    """An async request: it opens a short session whenever it needs one, and holds none."""

    database: Database
    bus: EventBus
    user: Principal
    settings: Settings
    request: Request = DIRECT

    @contextmanager
    def read(self) -> Iterator[Context]:
        """Open a session that only reads."""
        with self.database.read() as session:
            yield Context(session, self.user, self.settings, self.request)

    @contextmanager
    def write(self) -> Iterator[Context]:
        """Open a session that writes: committed at the end, rolled back on an error."""
        with self.database.write() as session:
            yield Context(session, self.user, self.settings, self.request)
