"""Serves socket routes: an async stream of typed messages over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.websocket import WebSocketMixin
from tornado import websocket

from workbench.core.errors import WorkbenchError
from workbench_server.handlers import STALL_TIMEOUT, RouteHandler, describe

NORMAL_CLOSURE, INTERNAL_ERROR, REFUSED = 1000, 1011, 4000  # REFUSED + HTTP status

logger = logging.getLogger(__name__)


class SocketHandler(WebSocketMixin, websocket.WebSocketHandler, RouteHandler):
    """Pulls messages from the route's stream as fast as the client reads them, so none is buffered here.

    Takes a ticket in the URL beside the credentials of any other route: a browser cannot send headers with a WebSocket.
    """

    takes_tickets = True

    def set_default_headers(self) -> None:
        """Leave the headers of an upgrade alone."""

    def get_compression_options(self) -> None:
        """Send frames uncompressed."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate and check the permission before the upgrade."""
        await RouteHandler.prepare(self)

    @allow_unauthenticated
    async def get(self, **parameters: str) -> None:
        """Validate, then upgrade."""
        self.arguments = dict(parameters)
        self.query = self.read_query()
        await super().get()

    def open(self, **parameters: str) -> None:
        """Begin to send."""
        super().open()
        self.sending = asyncio.create_task(self._send())

    def on_message(self, message: str | bytes) -> None:
        """Clients have nothing to say on these streams."""

    def on_close(self) -> None:
        """Stop the stream when its client has gone."""
        if hasattr(self, "sending"):
            self.sending.cancel()
        super().on_close()

    def _stream(self) -> AsyncIterator[Any]:
        assert self.route.endpoint is not None
        arguments: dict[str, Any] = dict(self.arguments)
        if self.query is not None:
            arguments["query"] = self.query
        return self.route.endpoint(self.stream_context, **arguments)  # type: ignore[no-any-return]

    async def _send(self) -> None:
        code, reason = NORMAL_CLOSURE, "ended"
        try:
            async with aclosing(self._stream()) as messages:  # type: ignore[type-var]
                async for message in messages:
                    content = self.route.adapter.dump_json(message).decode()
                    await asyncio.wait_for(self.write_message(content), STALL_TIMEOUT)
        except WorkbenchError as error:
            code, reason = REFUSED + error.status, error.detail
        except websocket.WebSocketClosedError:
            return
        except TimeoutError:
            self.close(NORMAL_CLOSURE, "the client does not read")
            return
        except Exception as error:
            logger.exception("The stream %s failed", self.request.path)
            code, reason = INTERNAL_ERROR, describe(error, 500).detail
        self.close(code, reason.encode()[:120].decode("utf8", errors="ignore"))
