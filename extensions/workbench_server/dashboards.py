"""Voilà as a process of its own: publishes the dashboards of a home to people who may look and nothing else.

`python -m workbench_server.dashboards --home DIR --port N` prints one JSON line when ready: its URL, and a ticket that
lets the owner's browser in once, as `?ticket=…`. Everyone else comes by the main server, which knows the accounts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import nbformat
from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketHandler
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler

from workbench import launch
from workbench.accounts import once, people
from workbench.accounts import service as accounts
from workbench.accounts.roles import LIMITS
from workbench.core.context import Principal
from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.core.texts import Language, text
from workbench.jobs.files import live_servers, write_json
from workbench.jobs.processes import identity
from workbench_server.identity import COOKIE_DAYS, user_of
from workbench_server.kernels import WorkbenchKernelManager
from workbench_server.language import accepted_language
from workbench_server.watch import AccessWatch

#: The addresses of kernels: their channels, and their end.
KERNEL_PATH = re.compile(r"/(?:api/kernels|voila/api/shutdown|voila/query|voila/execution)/([^/]+)")
FIRST_VISIT = timedelta(minutes=30)  # in which the URL that is printed at the start lets the owner in
#: The only JupyterLab extensions that a page of widgets needs.
LAB_EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]
CULL_INTERVAL = 15  # seconds between two looks for kernels that nobody watches
#: Handlers of Voilà that show or hand out more than the dashboards.
UNPUBLISHED = (TornadoVoilaTreeHandler, VoilaContentsHandler, AllowListFileHandler)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:;"
    " frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)


class DashboardIdentityProvider(PasswordIdentityProvider):
    """Takes the main server's one-time tickets, then a cookie of this process; whoever comes in may look and chat."""

    #: Set before the first request.
    database: Database
    kernels: DashboardKernelManager
    watch: AccessWatch

    async def get_user(self, handler: web.RequestHandler) -> User | None:
        """Return the visitor; the kernels of others are not there."""
        known = getattr(handler, "_jupyter_current_user", None)
        if known is not None:
            return cast(User, known)
        visitor = await self._by_cookie(handler) or await self._by_ticket(handler)
        if visitor is not None and isinstance(handler, WebSocketHandler):
            self.watch.opened(handler, visitor, "datasets:read")
        named = KERNEL_PATH.search(handler.request.path)
        if visitor is not None and named is not None and not self._is_of(named[1], visitor):
            raise web.HTTPError(404)
        return user_of(visitor)

    def get_handlers(self) -> list[tuple[str, object]]:
        """Log in where the accounts are."""
        return [(r"/login", SignInHandler), (r"/logout", SignInHandler)]

    @property
    def auth_enabled(self) -> bool:
        """Authentication is always on."""
        return True

    def _is_of(self, kernel_id: str, visitor: Principal) -> bool:
        owner = self.kernels.owners.get(kernel_id)
        return owner is not None and owner.id == visitor.id

    async def _by_ticket(self, handler: web.RequestHandler) -> Principal | None:
        ticket = handler.get_query_argument("ticket", "") if handler.request.method == "GET" else ""
        found = await asyncio.to_thread(self._consume, ticket) if ticket else None
        if found is None:
            return None
        visitor, login_id = found
        content = json.dumps({"visitor": visitor.id, "login": login_id})
        secure = handler.request.protocol == "https"
        name = self.get_cookie_name(handler)
        handler.set_signed_cookie(name, content, expires_days=None, httponly=True, samesite="Strict", secure=secure)
        return visitor

    async def _by_cookie(self, handler: web.RequestHandler) -> Principal | None:
        value = handler.get_signed_cookie(self.get_cookie_name(handler), max_age_days=COOKIE_DAYS)
        if value is None:
            return None
        content = json.loads(value)
        return await asyncio.to_thread(self._visitor, content["visitor"], content["login"])

    def _consume(self, ticket: str) -> tuple[Principal, str | None] | None:
        with self.database.write() as session:
            used = once.consume(session, "dashboard", ticket)
        if used is None:
            return None
        visitor = self._visitor(used.user_id, used.data["login"])
        return (visitor, used.data["login"]) if visitor is not None else None

    def _visitor(self, user_id: str, login_id: str | None) -> Principal | None:
        """Return who visits, with what a viewer may; None once the account or the login on the server has ended."""
        with self.database.read() as session:
            person = people.person(session, user_id)
            if person is None or (login_id is None and user_id != people.OWNER):
                return None
            visit = replace(person, permissions=person.permissions & LIMITS["viewer"], login_id=login_id)
            return accounts.present(session, visit) and visit


class DashboardKernelManager(WorkbenchKernelManager):
    """Starts kernels that may read the workbench as their visitor, and remembers whose each is."""

    limit = "viewer"
    holder = "dashboard"

    def owner(self, who: Principal) -> Principal:
        """Return whom a kernel belongs to: this visit, which ends with its login."""
        return who

    @property
    def _app(self) -> Dashboards:
        return cast(Dashboards, self.parent)

    @property
    def server_url(self) -> str:  # type: ignore[override]
        """The home's newest server."""
        return str(launch.require_server(self._app.workbench_settings.home)["url"])

    def language(self) -> Language:
        """Return what the visitor's browser asks for."""
        handler = CallContext.get(CallContext.JUPYTER_HANDLER)
        return accepted_language(handler.request.headers.get("Accept-Language", "") if handler is not None else "")


class SignInHandler(JupyterHandler):
    """Sends strangers to the main server, which sends them back with a ticket when they are logged in there."""

    @allow_unauthenticated
    def get(self) -> None:
        """Redirect, to the host under which the visitor reached this process."""
        settings: Settings = self.settings["workbench"]
        known = launch.running_server(settings.home)
        if known is None and settings.public_url is None:
            self.set_status(503)
            self.finish("The workbench server, which knows the accounts, does not run; try again later.")
            return
        path = urlsplit(self.get_query_argument("next", "")).path.lstrip("/")
        if settings.public_url is not None:
            main = settings.public_url
        else:
            assert known is not None
            there = urlsplit(str(known["url"]))
            host = urlsplit(f"//{self.request.host}").hostname or "127.0.0.1"
            main = there._replace(netloc=f"{host}:{there.port}").geturl()
        self.redirect(f"{main.rstrip('/')}/workbench/dashboards?path={quote(path)}")


class IndexHandler(JupyterHandler):
    """Lists the dashboards."""

    @web.authenticated
    def get(self) -> None:
        """Show each with its title and first sentence, in the reader's language."""
        language = accepted_language(self.request.headers.get("Accept-Language", ""))
        words = {name: text(f"dashboards.{name}", language) for name in ("title", "note", "empty")}
        template = self.settings["voila_jinja2_env"].get_template("dashboards.html")
        folder = Path(self.settings["voila"].root_dir)
        dashboards = [described(path, language) for path in sorted(folder.glob("*.ipynb"))]
        self.write(template.render(words=words, language=language, base_url=self.base_url, dashboards=dashboards))


class Dashboards(Voila):  # type: ignore[misc]
    """Voilà with our identity, kernels, pages and nothing from elsewhere, whatever a configuration file says."""

    workbench_settings: Settings
    database: Database

    def setup_template_dirs(self) -> None:
        """Put our pages before Voilà's."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(launch.shipped("templates") / "voila"))

    def init_settings(self) -> dict[str, Any]:
        """Take the boundary."""
        self.identity_provider_class = DashboardIdentityProvider
        self.cookie_secret = secrets.token_bytes(32)
        self.token = secrets.token_urlsafe(32)
        self.voila_configuration.multi_kernel_manager_class = DashboardKernelManager
        settings: dict[str, Any] = super().init_settings()
        self.kernel_manager.database = self.identity_provider.database = self.database
        self.identity_provider.kernels = self.kernel_manager
        self.identity_provider.watch = AccessWatch(self.database, self.kernel_manager, "datasets:read")
        self.identity_provider.cookie_name = f"workbench-dashboards-{self.port}"
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        settings |= {"allow_unauthenticated_access": False, "headers": headers}
        return settings | {"workbench": self.workbench_settings}

    def init_handlers(self) -> list[Any]:
        """Serve the dashboards and their list; hand out no other file."""
        kept = [rule for rule in super().init_handlers() if not issubclass(rule[1], UNPUBLISHED)]
        return [(self.server_url, IndexHandler), *kept]

    def start(self) -> None:
        """Serve until a signal comes; leave no kernel, token or trace of this process behind."""
        IOLoop.current().add_callback(self._announce)
        IOLoop.current().add_callback(self._watch)
        try:
            super().start()
        finally:
            self._file.unlink(missing_ok=True)
            self.database.close()

    @property
    def _file(self) -> Path:
        return self.workbench_settings.home / launch.DASHBOARDS / f"{os.getpid()}.json"

    async def _watch(self) -> None:
        await self.identity_provider.watch.keep()

    def _announce(self) -> None:
        where = {"url": self.connection_url}
        self._file.parent.mkdir(exist_ok=True)
        with self.database.write() as session:
            ticket = once.issue(session, "dashboard", people.OWNER, FIRST_VISIT, login=None)[1]
        write_json(self._file, identity(os.getpid()) | where | {"ticket": ticket}, mode=0o600)
        print(json.dumps(where | {"ticket": ticket}), flush=True)  # noqa: T201


def described(path: Path, language: Language) -> dict[str, str]:
    """Return a dashboard's path, and its title and sentence from its metadata."""
    told = nbformat.read(path, as_version=4).metadata.get("workbench", {}).get(language, {})
    return {"path": path.name, "title": str(told.get("title", path.stem)), "text": str(told.get("text", ""))}


def configuration(settings: Settings, folder: Path, port: int) -> Config:
    """Return what Voilà is told."""
    return Config(
        {
            "Voila": {
                "root_dir": str(folder),
                "port": port,
                "port_retries": 0,
                "open_browser": False,
                "ip": "127.0.0.1",
            },
            "VoilaConfiguration": {
                "template": "lab",
                "allow_template_override": "NO",
                "allow_theme_override": "YES",
                "extension_allowlist": LAB_EXTENSIONS,
                "show_tracebacks": False,
            },
            "MappingKernelManager": {
                "cull_idle_timeout": int(settings.dashboard_idle_seconds),
                "cull_interval": CULL_INTERVAL,
                "cull_connected": False,
            },
        }
    )


def main() -> None:
    """Publish the dashboards of a home until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    settings = Settings(home=given.home)
    database = Database(settings.resolved_database_url())
    if not live_servers(settings.home, launch.DASHBOARDS):
        with database.write() as session:
            accounts.revoke_all(session, "dashboard")
    folder = launch.copy_notebooks(settings.home) / "dashboards"
    app = Dashboards(config=configuration(settings, folder, given.port))
    app.workbench_settings, app.database = settings, database
    app.initialize([])
    app.start()


if __name__ == "__main__":
    main()
