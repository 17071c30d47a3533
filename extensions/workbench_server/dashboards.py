"""Voilà as a process of its own: publishes the dashboards of a home to reviewers, who can read and nothing else.

`python -m workbench_server.dashboards --home DIR --port N` prints one JSON line with its URL and token when ready.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
from pathlib import Path
from typing import Any, cast

import nbformat
from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.ioloop import IOLoop
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import AllowListFileHandler
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler

from workbench import launch
from workbench.accounts import service as accounts
from workbench.accounts.roles import ROLES
from workbench.core.context import Principal
from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.core.texts import Language, text
from workbench.jobs.files import live_servers, write_json
from workbench.jobs.processes import identity
from workbench_server.identity import user_of
from workbench_server.kernels import WorkbenchKernelManager
from workbench_server.language import accepted_language

REVIEWER = Principal("reviewer", "Reviewer", ROLES["reviewer"])
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
    """Everyone who has the dashboards' token is the reviewer; nobody else gets in."""

    @property
    def auth_enabled(self) -> bool:
        """Authentication is always on."""
        return True

    def generate_anonymous_user(self, handler: web.RequestHandler) -> User:
        """Return the reviewer: called for whoever brought the token."""
        return user_of(REVIEWER)

    def user_to_cookie(self, user: User) -> str:
        """Serialize the reviewer."""
        return json.dumps({"username": user.username})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """Return the reviewer for a cookie that this process signed."""
        return user_of(REVIEWER) if json.loads(cookie_value).get("username") == REVIEWER.id else None


class DashboardKernelManager(WorkbenchKernelManager):
    """Starts kernels that may read the workbench."""

    role = "reviewer"
    holder = "dashboard"

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
        self.kernel_manager.database = self.database
        self.identity_provider.cookie_name = f"workbench-dashboards-{self.port}"
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        return {**settings, "allow_unauthenticated_access": False, "headers": headers}

    def init_handlers(self) -> list[Any]:
        """Serve the dashboards and their list; hand out no other file."""
        kept = [rule for rule in super().init_handlers() if not issubclass(rule[1], UNPUBLISHED)]
        return [(self.server_url, IndexHandler), *kept]

    def start(self) -> None:
        """Serve until a signal comes; leave no kernel, token or trace of this process behind."""
        IOLoop.current().add_callback(self._announce)
        try:
            super().start()
        finally:
            self._file.unlink(missing_ok=True)
            self.database.close()

    @property
    def _file(self) -> Path:
        return self.workbench_settings.home / launch.DASHBOARDS / f"{os.getpid()}.json"

    def _announce(self) -> None:
        where = {"url": self.connection_url, "token": self.token}
        self._file.parent.mkdir(exist_ok=True)
        write_json(self._file, identity(os.getpid()) | where, mode=0o600)
        print(json.dumps(where), flush=True)  # noqa: T201


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
