"""What stands between a request and its answer: one transaction, its audit, and repeated requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from jupyter_server.base.handlers import JupyterHandler

from workbench.accounts import audit
from workbench.core.bus import EventBus
from workbench.core.context import ANONYMOUS, Context, Principal, Request
from workbench.core.database import Database
from workbench.core.errors import Invalid
from workbench.core.routes import Download, Route
from workbench.core.settings import Settings
from workbench.core.tables import IdempotencyKey
from workbench.core.texts import preferred_language
from workbench_server.language import accepted_language
from workbench_server.watch import AccessWatch


class KeyReused(Invalid):
    """The Idempotency-Key came before with another request."""

    code = "idempotency.key_reused"


@dataclass
class Server:
    """What every handler stands on."""

    database: Database
    settings: Settings
    bus: EventBus
    threads: ThreadPoolExecutor
    watch: AccessWatch
    #: URL at which processes of this host reach the server.
    local_url: str = ""


def perform(
    server: Server,
    route: Route[Any],
    user: Principal,
    asked: Request,
    arguments: dict[str, Any],
    remember: Any = None,
) -> bytes:
    """Call a route's function in one transaction and return its answer as JSON; what changes anything is audited."""
    assert route.endpoint is not None
    if route.checker is not None:
        with server.database.read() as session:
            route.checker(Context(session, user, server.settings), **arguments)
    opened = server.database.read() if route.method == "GET" else server.database.write()
    with opened as session:
        context = Context(session, user, server.settings, asked)
        answer = route.endpoint(context, **arguments)
        content = route.adapter.dump_json(answer)
        if remember is not None:
            session.add(remember(json.loads(content)))
        if route.method != "GET" and (user is not ANONYMOUS or context.noted):
            thing = "/".join(str(arguments[name]) for name in route.parameters) or getattr(answer, "id", "")
            audit.record(session, user, route.name, thing, address=asked.address, **context.noted)
    return content


def request_of(handler: JupyterHandler, server: Server) -> Request:
    """Return what is known of a request beyond its content."""
    headers, settings = handler.request.headers, server.settings
    url = f"{handler.request.protocol}://{handler.request.host}{handler.base_url}"
    if handler.settings.get("allow_remote_access"):  # any Host header is taken then, so a mail's link must not use it
        url = server.local_url
    return Request(
        address=handler.request.remote_ip or "",
        agent=headers.get("User-Agent", ""),
        base_url=settings.public_url or url,
        language=settings.language or accepted_language(headers.get("Accept-Language", ""), preferred_language()),
    )


def fetch(server: Server, route: Route[Download], user: Principal, arguments: dict[str, Any]) -> Download:
    """Call a download route's function in a read transaction."""
    assert route.endpoint is not None
    with server.database.read() as session:
        made: Download = route.endpoint(Context(session, user, server.settings), **arguments)
        return made


def once(server: Server, user: Principal, key: str | None, request: str, work: Callable[..., bytes]) -> bytes:
    """Do the work, or return the first answer when the same key comes again."""
    if key is None:
        return work()
    with server.database.read() as session:
        known = session.get(IdempotencyKey, (user.id, key))
    if known is None:
        return work(
            remember=lambda answer: IdempotencyKey(user_id=user.id, key=key, request_sha256=request, answer=answer)
        )
    if known.request_sha256 != request:
        raise KeyReused("This Idempotency-Key was used before with another request; use a new key.")
    return json.dumps(known.answer).encode()
