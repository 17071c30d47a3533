"""Deployments as a researcher holds them in a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Self

from workbench.core.errors import Conflict
from workbench.core.http import HTTP, ServerUnreachable
from workbench.jobs.schemas import LogPage, LogQuery
from workbench.serving import routes
from workbench.serving.schemas import ENDED, DeploymentsQuery
from workbench.serving.schemas import Deployment as Record

if TYPE_CHECKING:
    import openai

RECONNECT_INTERVAL = 1.0  # seconds between two tries at a server that went away


class DeploymentEnded(Conflict):
    """The deployment has ended before it was ready."""

    code = "deployment.ended"


@dataclass(frozen=True)
class Deployment:
    """A handle on one deployment; every question goes to the server."""

    http: HTTP
    id: str

    def record(self) -> Record:
        """Return the deployment as it is now."""
        return self.http.call(routes.show, deployment_id=self.id)

    @property
    def phase(self) -> str:
        """What it does, in one word: waiting, checking, converting, starting, ready, …"""
        return self.record().phase

    def follow(self) -> Iterator[Record]:
        """Yield the deployment each time that it changes, until it has ended; goes on when the server comes back."""
        while True:
            try:
                yield from self.http.stream(routes.live, deployment_id=self.id)
            except ServerUnreachable:
                time.sleep(RECONNECT_INTERVAL)
            else:
                return

    def wait(self, on_change: Callable[[Record], None] | None = None) -> Self:
        """Block until it is ready; raise `DeploymentEnded` when it ends before."""
        for record in self.follow():
            if on_change is not None:
                on_change(record)
            if record.phase == "ready":
                return self
            if record.phase in ENDED:
                raise DeploymentEnded(record.error or f"The deployment of {record.model} was {record.phase}.")
        return self

    def stop(self) -> Record:
        """Ask it to stop."""
        return self.http.call(routes.stop, deployment_id=self.id)

    def log(self, offset: int = -65_536, limit: int = 65_536) -> LogPage:
        """Return a piece of the engine's log; a negative offset counts from its end."""
        return self.http.call(routes.log, deployment_id=self.id, query=LogQuery(offset=offset, limit=limit))

    def openai(self) -> openai.OpenAI:
        """Return the official OpenAI client for this server; the deployment's id is the model to name."""
        import openai

        return openai.OpenAI(base_url=f"{self.http.url}/api/openai/v1", api_key=self.http.token)

    def dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return self.record().model_dump(mode="json")

    def __repr__(self) -> str:
        return f"<Deployment {self.id}>"

    def _repr_html_(self) -> str:
        record = self.record()
        note = record.detail or record.fallback_reason or ""
        return f"<b>{escape(record.model)}</b> <code>{self.id}</code><br>{record.phase} {escape(note)}"


class Deployments:
    """What `wb.deployments` lists, newest first."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def list(self, *, live: bool = False) -> Sequence[Record]:
        """Return the newest deployments, or those that have not ended."""
        return self._http.call(routes.listing, query=DeploymentsQuery(live=live)).items

    def __getitem__(self, deployment_id: str) -> Deployment:
        return Deployment(self._http, deployment_id)
