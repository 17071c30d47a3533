"""The extension's life: takes over identity at link time, mounts the routes, keeps the agent, says where it is."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Unicode

import workbench
from workbench.accounts import mail, signing
from workbench.accounts import service as accounts
from workbench.chat import answering
from workbench.core.bus import EventBus
from workbench.core.database import Database
from workbench.core.engines import DatabaseAway
from workbench.core.errors import WorkbenchError
from workbench.core.routes import ROUTES, Route
from workbench.core.settings import Settings
from workbench.jobs.files import live_servers, write_json
from workbench.jobs.processes import identity
from workbench_server import openapi
from workbench_server.doors import PAGES
from workbench_server.execution import Server
from workbench_server.handlers import DownloadHandler, EventsHandler, PlainHandler, RouteHandler, UploadHandler
from workbench_server.identity import WorkbenchAuthorizer, WorkbenchIdentityProvider
from workbench_server.keeper import AgentKeeper
from workbench_server.kernels import WorkbenchKernelManager
from workbench_server.sockets import SocketHandler
from workbench_server.watch import AccessWatch

#: Extensions that run code for whoever can open a page; they stay off beside ours.
UNSAFE_EXTENSIONS = ("voila.server_extension", "jupyter_scheduler")
HANDLERS = {"plain": PlainHandler, "download": DownloadHandler, "upload": UploadHandler}
HANDLERS |= {"socket": SocketHandler, "events": EventsHandler}
MAIL_INTERVAL = 1.0  # seconds between two looks into the outbox

logger = logging.getLogger(__name__)


class BoundaryMissing(RuntimeError):
    """The workbench refuses to serve, because another configuration has displaced its security boundary."""


class WorkbenchServer(ExtensionApp):
    """The Workbench: datasets, jobs, models and evaluations behind Jupyter's own door."""

    name = "workbench_server"
    load_other_extensions = True

    required = Bool(False, config=True, help="End the server when the workbench cannot serve.")
    home = Unicode(
        "", config=True, help="Folder for everything the workbench writes; empty: WORKBENCH_HOME or the default."
    )

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        super()._link_jupyter_server_extension(serverapp)
        configuration = {
            "identity_provider_class": WorkbenchIdentityProvider,
            "authorizer_class": WorkbenchAuthorizer,
            "kernel_manager_class": WorkbenchKernelManager,
            "allow_unauthenticated_access": False,
            "jpserver_extensions": dict.fromkeys(UNSAFE_EXTENSIONS, False),
        }
        serverapp.update_config(type(serverapp.config)({"ServerApp": configuration}))
        for name in UNSAFE_EXTENSIONS:
            if name in serverapp.extension_manager.extensions:
                serverapp.extension_manager.extensions[name].enabled = False

    def initialize_settings(self) -> None:
        """Take the boundary and the database, or do not serve; under `workbench lab`, or end the server."""
        try:
            self._open()
        except (BoundaryMissing, WorkbenchError) as error:
            self.log.critical("The workbench does not serve: %s", error)
            raise SystemExit(1) if self.required else error from error

    def _open(self) -> None:
        given = {"home": Path(self.home)} if self.home else {}
        self.workbench_settings = Settings(**given)  # type: ignore[arg-type]
        self.workbench_settings.prepare_home()
        serverapp = self.serverapp
        assert serverapp is not None
        check_boundary(serverapp)
        settings = self.workbench_settings
        self.database = Database(settings.resolved_database_url(), settings.database_pool_size)
        self.database.prepare()
        serverapp.kernel_manager.database = self.database  # type: ignore[attr-defined]
        signing.keys(self.workbench_settings)  # made now, not in the middle of the first login
        self.bus = EventBus(self.database)
        threads = ThreadPoolExecutor(settings.database_pool_size)
        watch = AccessWatch(self.database, serverapp.kernel_manager, "kernels:use")
        self.server = Server(self.database, self.workbench_settings, self.bus, threads, watch)
        serverapp.identity_provider.server = self.server  # type: ignore[attr-defined]

    def initialize_handlers(self) -> None:
        """Mount every declared route, and the pages that describe them."""
        by_path: dict[str, dict[str, Route[Any]]] = defaultdict(dict)
        for route in load_routes():
            by_path[route.pattern()][route.method] = route
        self.handlers += handlers(by_path, self.server)
        spec = openapi.document(ROUTES, workbench.__version__, self.settings["base_url"])
        for path, page in PAGES:
            self.handlers.append((f"/{path}", page))
        for path, content_type, content in (
            ("openapi.json", "application/json", json.dumps(spec)),
            ("docs", "text/html; charset=utf-8", openapi.page(spec)),
        ):
            options = {"server": self.server, "content_type": content_type, "content": content}
            self.handlers.append((f"/api/workbench/{path}", DocumentHandler, options))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        if not hasattr(self, "server"):
            return  # it was refused at load
        serverapp.kernel_manager.server_url = self.server.local_url = local_url(serverapp)  # type: ignore[attr-defined]
        self.bus.start(asyncio.get_running_loop())
        await asyncio.to_thread(self._take_home)
        where = {"url": local_url(serverapp), "token": serverapp.identity_provider.token}
        where |= {"version": workbench.__version__}
        write_json(self._server_file, identity(os.getpid()) | where, mode=0o600)
        self.tasks = [asyncio.create_task(self._send_mail()), asyncio.create_task(self.server.watch.keep())]
        if self.workbench_settings.agent == "embedded":
            self.tasks.append(asyncio.create_task(AgentKeeper(self.workbench_settings).keep()))

    async def stop_extension(self) -> None:
        """Stop watching; the agent and its jobs go on."""
        if not hasattr(self, "server"):
            return
        for task in getattr(self, "tasks", ()):
            task.cancel()
        self.bus.close()
        self.server.threads.shutdown(wait=False, cancel_futures=True)
        self._server_file.unlink(missing_ok=True)
        self.database.close()

    async def _send_mail(self) -> None:
        while True:
            try:
                await asyncio.to_thread(mail.deliver, self.database, self.workbench_settings)
            except DatabaseAway as error:
                logger.warning("The outbox cannot be read: %s", error)
            except Exception:
                logger.exception("The outbox cannot be read; trying again")
            await asyncio.sleep(MAIL_INTERVAL)

    @property
    def _server_file(self) -> Path:
        return self.workbench_settings.home / "servers" / f"{os.getpid()}.json"

    def _take_home(self) -> None:
        """Sweep up after servers that were killed, unless another one lives here."""
        home = self.workbench_settings.home
        self._server_file.parent.mkdir(exist_ok=True)
        if live_servers(home):
            return
        for left in (*self._server_file.parent.iterdir(), *(home / "uploads").glob("*.part")):
            left.unlink()
        answering.recover(self.database, self.workbench_settings)
        with self.database.write() as session:
            accounts.revoke_all(session, "kernel")


class DocumentHandler(RouteHandler):
    """Serves a document that was made at start."""

    def initialize(self, server: Server, content_type: str, content: str) -> None:  # type: ignore[override]
        """Take the document."""
        super().initialize(server, {"GET": DOCUMENT})
        self.content_type, self.content = content_type, content

    @allow_unauthenticated
    async def get(self) -> None:
        """Send it."""
        if self.content_type.startswith("text/html"):
            self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.finish(self.content, set_content_type=self.content_type)


class _Document:
    permission = None
    errors = "problem"


DOCUMENT: Any = _Document()


def load_routes() -> list[Route[Any]]:
    """Import every slice's api module, so that every declared route has its function."""
    for api in sorted(Path(workbench.__path__[0]).glob("*/api.py")):
        importlib.import_module(f"workbench.{api.parent.name}.api")
    return ROUTES


def handlers(by_path: dict[str, dict[str, Route[Any]]], server: Server) -> list[Any]:
    """Return Tornado rules; paths without parameters come first, so that none is taken for a parameter."""
    rules = []
    for pattern, routes in sorted(by_path.items(), key=lambda item: "(?P" in item[0]):
        kinds = {route.kind for route in routes.values()}
        kind = next(kind for kind in ("upload", "socket", "events", "download", "plain") if kind in kinds)
        rules.append((pattern, HANDLERS[kind], {"server": server, "routes": routes}))
    return rules


def check_boundary(serverapp: ServerApp) -> None:
    """Raise `BoundaryMissing` unless identity, authorizer, kernel manager and the flags are ours."""
    found = {
        "identity provider": isinstance(serverapp.identity_provider, WorkbenchIdentityProvider),
        "authorizer": isinstance(serverapp.authorizer, WorkbenchAuthorizer),
        "kernel manager": isinstance(serverapp.kernel_manager, WorkbenchKernelManager),
        "refusal of anonymous access": serverapp.allow_unauthenticated_access is False,
        "absence of Voilà’s server extension": not any(
            serverapp.extension_manager.extensions[name].enabled
            for name in UNSAFE_EXTENSIONS
            if name in serverapp.extension_manager.extensions
        ),
    }
    missing = [name for name, there in found.items() if not there]
    if missing:
        raise BoundaryMissing(f"Its {', '.join(missing)} is not in place; another configuration has displaced it.")


def local_url(serverapp: ServerApp) -> str:
    """Return the URL at which processes on this host reach the server."""
    everywhere = serverapp.ip in ("", "localhost", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    netloc = f"127.0.0.1:{serverapp.port}" if everywhere else urlsplit(serverapp.connection_url).netloc
    return urlsplit(serverapp.connection_url)._replace(netloc=netloc).geturl()
