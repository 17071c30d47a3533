"""The services behind the client's routes, without a socket, as the owner or as a reader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from workbench.accounts.people import owner
from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.errors import Forbidden, RemoteError, WorkbenchError
from workbench.core.http import HTTP
from workbench.core.routes import Route, UploadedFile
from workbench.core.settings import Settings


class InProcess(HTTP):
    """Answers each call from the services, in one transaction a call."""

    def __init__(self, database: Database, settings: Settings, user: Principal | None = None) -> None:
        super().__init__("http://in-process", "token")
        self._database, self._settings, self._user = database, settings, user or owner()

    def call(
        self, route: Route[Any], *, query: Any = None, body: Any = None, idempotency_key: Any = None, **parameters: Any
    ) -> Any:
        if route.query is not None:
            parameters["query"] = query or route.query()
        if route.body is not None:
            parameters["body"] = body
        assert route.endpoint is not None
        try:
            if route.permission is not None and route.permission not in self._user.permissions:
                raise Forbidden(f"This needs {route.permission}.")
            with self._database.write() as session:
                return route.endpoint(Context(session, self._user, self._settings), **parameters)
        except WorkbenchError as error:
            raise RemoteError(error.problem()) from error

    def upload(self, route: Route[Any], path: Path, *, query: Any, progress: Any = None, **parameters: Any) -> Any:
        copy = self._settings.home / "upload"
        shutil.copy(path, copy)
        return self.call(route, query=query, file=UploadedFile(copy, copy.stat().st_size, ""), **parameters)
