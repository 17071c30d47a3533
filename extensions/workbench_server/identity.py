"""Who a request comes from, and the gate that keeps everyone without a kernel out of Jupyter's own handlers."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_server.auth import Authorizer, User
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from sqlalchemy.orm import Session
from tornado import web
from tornado.websocket import WebSocketHandler

from workbench.accounts import logins, people, service, signing
from workbench.core.context import ANONYMOUS, Principal
from workbench.core.engines import DatabaseAway

if TYPE_CHECKING:
    from workbench_server.execution import Server

COOKIE_DAYS = logins.LONGEST.days


@dataclass
class WorkbenchUser(User):
    """A Jupyter user that carries what its credential stands for."""

    person: Principal = ANONYMOUS

    def principal(self) -> Principal:
        """Return the caller as the services know it."""
        return self.person

    @property
    def permissions(self) -> frozenset[str]:
        """What the credential allows."""
        return self.person.permissions


class OwnHandler:
    """Marks the handlers that check permissions themselves; every other handler needs `kernels:use`."""

    #: Whether it answers our errors as they are; every other handler is told a status.
    explains_errors: ClassVar[bool] = False


class WorkbenchIdentityProvider(PasswordIdentityProvider):
    """Takes Jupyter's own token or password (= the owner), logins of accounts, and our opaque tokens."""

    #: Set by the extension before the first request.
    server: Server

    async def get_user(self, handler: web.RequestHandler) -> User | None:
        """Return the caller; refuse one without `kernels:use` on any handler that is not ours."""
        try:
            user = await self._get_user(handler)
        except DatabaseAway as error:
            if getattr(handler, "explains_errors", False):
                raise
            handler.current_user = None  # the page that tells the error asks for it
            raise web.HTTPError(error.status, error.detail) from error
        if isinstance(user, WorkbenchUser) and isinstance(handler, WebSocketHandler):
            route = getattr(handler, "route", None)
            self.server.watch.opened(handler, user.person, route.permission if route is not None else "kernels:use")
        if user is None or isinstance(handler, OwnHandler):
            return user
        if "kernels:use" not in getattr(user, "permissions", frozenset()):
            handler.current_user = user  # the page that tells the error asks for it
            if handler.request.headers.get("Sec-Fetch-Mode") == "navigate" and handler.request.method == "GET":
                handler.redirect(f"{handler.base_url}workbench")  # type: ignore[attr-defined]
                raise web.Finish
            raise web.HTTPError(403, "This account may not use kernels, files or terminals.")
        return user

    async def get_user_token(self, handler: web.RequestHandler) -> User | None:
        """Return the caller for a token in the Authorization header, Jupyter's own also in the URL."""
        ticket = handler.get_query_argument("ticket", "") if getattr(handler, "takes_tickets", False) else ""
        if ticket:
            return user_of(await asyncio.to_thread(self._of_ticket, ticket))
        token = self.get_token(handler)
        if not token:
            return None
        if self.token and hmac.compare_digest(token.encode(), self.token.encode()):
            return user_of(people.owner())
        if handler.get_query_argument("token", ""):
            return None  # our tokens live longer than a URL in some log may
        return user_of(await asyncio.to_thread(self._of_token, token))

    async def get_user_cookie(self, handler: web.RequestHandler) -> User | None:
        """Return the owner or the person of a cookie, and let a login that is in use go on."""
        value = handler.get_signed_cookie(self.get_cookie_name(handler), max_age_days=COOKIE_DAYS)
        try:
            content = json.loads(value or b"null")
        except ValueError:
            return None
        if not isinstance(content, dict):
            return None
        if content.get("username") == people.OWNER:
            return user_of(people.owner())
        found = await asyncio.to_thread(self._of_cookie, str(content.get("login", "")))
        if found is None:
            return None
        principal, is_news = found
        if is_news and not hasattr(handler, "ws_connection"):
            self.set_account_cookie(handler, content["login"])
        return user_of(principal)

    def get_handlers(self) -> list[tuple[str, object]]:
        """Answer at Jupyter's own addresses of login and logout, whatever was configured to be there."""
        from workbench_server.doors import LoginPage, LogoutPage

        return [(r"/login", LoginPage), (r"/logout", LogoutPage)]

    def user_to_cookie(self, user: User) -> str:
        """Serialize the owner; an account's cookie is set by its login."""
        return json.dumps({"username": people.OWNER})

    def set_login_cookie(self, handler: web.RequestHandler, user: User) -> None:
        """Give the owner's browser a cookie; never a script, and nobody else."""
        scripted = "Authorization" in handler.request.headers
        if not scripted and isinstance(user, WorkbenchUser) and user.person == people.owner():
            self._set_cookie(handler, self.user_to_cookie(user))

    def set_account_cookie(self, handler: web.RequestHandler, secret: str) -> None:
        """Give a person's browser the cookie of its login."""
        self._set_cookie(handler, json.dumps({"login": secret}))

    def user_for_token(self, token: str) -> User:
        """Return the user who typed Jupyter's token into the login form."""
        return known(people.owner())

    def generate_anonymous_user(self, handler: web.RequestHandler) -> User:
        """Return the owner: Jupyter calls this for a typed password."""
        return known(people.owner())

    @property
    def auth_enabled(self) -> bool:
        """Authentication is always on, whatever the server was started with."""
        return True

    def identity_model(self, user: User) -> dict[str, Any]:
        """Describe the user for JupyterLab."""
        fields = ("username", "name", "display_name", "initials", "avatar_url", "color")
        return {name: getattr(user, name, None) for name in fields}

    def _set_cookie(self, handler: web.RequestHandler, value: str) -> None:
        secure = handler.request.protocol == "https" if self.secure_cookie is None else self.secure_cookie
        options = {"httponly": True, "samesite": "Strict", "path": handler.base_url, **self.cookie_options}  # type: ignore[attr-defined]
        handler.set_signed_cookie(
            self.get_cookie_name(handler), value, expires_days=COOKIE_DAYS, secure=secure, **options
        )

    def _of_token(self, token: str) -> Principal | None:
        if token.startswith(service.TOKEN_PREFIX):
            return self._noted(lambda session: service.verify(session, token), service.use_is_news, service.note_use)[0]
        claims = signing.keys(self.server.settings).read(token)
        if claims is None:
            return None
        return self._noted(lambda session: logins.of_claims(session, claims), _login_is_news, _note_login)[0]

    def _of_cookie(self, secret: str) -> tuple[Principal, bool] | None:
        found, news = self._noted(lambda session: logins.of_cookie(session, secret), _login_is_news, _note_login)
        return (found, news) if found is not None else None

    def _of_ticket(self, secret: str) -> Principal | None:
        with self.server.database.write() as session:
            return service.of_ticket(session, secret)

    def _noted(
        self,
        find: Callable[[Session], Principal | None],
        is_news: Callable[[Session, Principal], bool],
        note: Callable[[Session, Principal], None],
    ) -> tuple[Principal | None, bool]:
        """Find the person of a credential, and write down once in a while that it is in use."""
        with self.server.database.read() as session:
            principal = find(session)
            news = principal is not None and is_news(session, principal)
        if principal is not None and news:
            with self.server.database.write() as session:
                note(session, principal)
        return principal, news


class WorkbenchAuthorizer(Authorizer):
    """Allows Jupyter's resources to whoever may use kernels, and to nobody else."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        """See the base class."""
        return "kernels:use" in getattr(user, "permissions", frozenset())


def user_of(principal: Principal | None) -> WorkbenchUser | None:
    """Return a principal as the user that Jupyter asks for."""
    return known(principal) if principal is not None else None


def known(principal: Principal) -> WorkbenchUser:
    """Return a principal as a user of Jupyter."""
    return WorkbenchUser(
        username=principal.id,
        name=principal.name,
        display_name=principal.name,
        initials=principal.name[:2].upper(),
        person=principal,
    )


def _login_is_news(session: Session, user: Principal) -> bool:
    return user.login_id is not None and logins.use_is_news(session, user.login_id)


def _note_login(session: Session, user: Principal) -> None:
    assert user.login_id is not None
    logins.note_use(session, user.login_id)
