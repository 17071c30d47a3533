"""Who a request comes from, and the gate that keeps everyone without a kernel out of Jupyter's own handlers."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass
from typing import Any

from jupyter_server.auth import Authorizer, User
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from workbench.accounts import service
from workbench.core.context import Principal
from workbench.core.database import Database
from workbench.core.schemas import Ref


@dataclass
class WorkbenchUser(User):
    """A Jupyter user that carries the permissions of its credential."""

    permissions: frozenset[str] = frozenset()
    holder: Ref | None = None

    def principal(self) -> Principal:
        """Return the caller as the services know it."""
        return Principal(self.username, self.display_name, self.permissions, self.holder)


class OwnHandler:
    """Marks the handlers that check permissions themselves; every other handler needs `kernels:use`."""


class WorkbenchIdentityProvider(PasswordIdentityProvider):
    """Takes Jupyter's own token or password (= the owner) and our kernel, job and personal tokens."""

    #: Set by the extension before the first request.
    database: Database

    async def get_user(self, handler: web.RequestHandler) -> User | None:
        """Return the caller; refuse one without `kernels:use` on any handler that is not ours."""
        user = await self._get_user(handler)
        if user is None or isinstance(handler, OwnHandler):
            return user
        if "kernels:use" not in getattr(user, "permissions", frozenset()):
            raise web.HTTPError(403, "This account may not use kernels, files or terminals.")
        return user

    async def get_user_token(self, handler: web.RequestHandler) -> User | None:
        """Return the caller for a token in the Authorization header or the URL."""
        token = self.get_token(handler)
        if not token:
            return None
        if self.token and hmac.compare_digest(token.encode(), self.token.encode()):
            return user_of(service.owner())
        if handler.get_query_argument("token", ""):
            return None  # our tokens live long: they never travel in a URL
        principal = await asyncio.to_thread(self._verify, token)
        return user_of(principal) if principal is not None else None

    def user_to_cookie(self, user: User) -> str:
        """Serialize the owner, the only one who gets a cookie."""
        return json.dumps({"username": user.username})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """Return the owner for a cookie that this server signed."""
        owner = service.owner()
        return user_of(owner) if json.loads(cookie_value).get("username") == owner.id else None

    def set_login_cookie(self, handler: web.RequestHandler, user: User) -> None:
        """Give the owner's browser a cookie; never a script, and never the holder of a lesser token."""
        scripted = "Authorization" in handler.request.headers
        if not scripted and getattr(user, "permissions", None) == service.owner().permissions:
            super().set_login_cookie(handler, user)

    def user_for_token(self, token: str) -> User:
        """Return the user who typed Jupyter's token into the login form."""
        return user_of(service.owner())

    def generate_anonymous_user(self, handler: web.RequestHandler) -> User:
        """Return the owner: Jupyter calls this for a typed password."""
        return user_of(service.owner())

    @property
    def auth_enabled(self) -> bool:
        """Authentication is always on, whatever the server was started with."""
        return True

    def identity_model(self, user: User) -> dict[str, Any]:
        """Describe the user for JupyterLab."""
        fields = ("username", "name", "display_name", "initials", "avatar_url", "color")
        return {name: getattr(user, name, None) for name in fields}

    def _verify(self, token: str) -> Principal | None:
        with self.database.read() as session:
            principal = service.verify(session, token)
            news = principal is not None and service.use_is_news(session, principal)
        if principal is not None and news:
            with self.database.write() as session:
                service.note_use(session, principal)
        return principal


class WorkbenchAuthorizer(Authorizer):
    """Allows Jupyter's resources to whoever may use kernels, and to nobody else."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        """See the base class."""
        return "kernels:use" in getattr(user, "permissions", frozenset())


def user_of(principal: Principal) -> WorkbenchUser:
    """Return a principal as the user that Jupyter asks for."""
    return WorkbenchUser(
        username=principal.id,
        name=principal.name,
        display_name=principal.name,
        initials=principal.name[:2].upper(),
        permissions=principal.permissions,
        holder=principal.holder,
    )
