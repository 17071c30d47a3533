"""Ends what stays open longer than the right to it: sockets of ended logins and tokens, kernels of ended accounts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from workbench.accounts import service
from workbench.core.context import Principal
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway

INTERVAL = 5.0  # seconds between two looks
POLICY_VIOLATION = 1008  # close code of a socket whose caller may not have it any more

logger = logging.getLogger(__name__)


class AccessWatch:
    """Asks again and again whether who has opened something may still have it.

    `needs` is the permission that a kernel and Jupyter's own sockets take.
    """

    def __init__(self, database: Database, kernels: Any, needs: str) -> None:
        self._database = database
        self._kernels = kernels
        self._needs = needs
        self._sockets: WeakKeyDictionary[WebSocketHandler, tuple[Principal, str | None]] = WeakKeyDictionary()

    def opened(self, handler: WebSocketHandler, who: Principal, permission: str | None) -> None:
        """Watch a socket."""
        self._sockets[handler] = (who, permission)

    async def keep(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.look()
            except DatabaseAway as error:
                logger.warning("It cannot be seen who may have what: %s", error)
            except Exception:
                logger.exception("It cannot be seen who may have what; trying again")

    async def look(self) -> None:
        """Close the sockets and end the kernels that nobody may have any more."""
        sockets, kernels = dict(self._sockets), dict(self._kernels.owners)
        asked = {who for who, _ in sockets.values()} | set(kernels.values())
        still = await asyncio.to_thread(self._allowed, asked)
        for handler, (who, permission) in sockets.items():
            if permission is not None and permission not in still[who]:
                self._sockets.pop(handler, None)
                with suppress(WebSocketClosedError):
                    handler.close(POLICY_VIOLATION, "the login or the right has ended")
        for kernel_id, who in kernels.items():
            if self._needs not in still[who] and kernel_id in self._kernels:
                logger.warning("The kernel %s ends: its owner may not have it any more.", kernel_id)
                await self._kernels.shutdown_kernel(kernel_id, now=True)

    def _allowed(self, asked: set[Principal]) -> dict[Principal, frozenset[str]]:
        with self._database.read() as session:
            found = {who: service.present(session, who) for who in asked}
        return {who: now.permissions if now is not None else frozenset() for who, now in found.items()}
