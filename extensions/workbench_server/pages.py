"""What the pages around JupyterLab have in common: their look, their language, their forms and who sees them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jinja2
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from markupsafe import Markup
from pydantic import BaseModel, ValidationError
from tornado import web

from workbench import launch
from workbench.accounts import audit
from workbench.core.context import ANONYMOUS, Context, Principal, Request, StreamContext
from workbench.core.errors import Unavailable, WorkbenchError, invalid_input
from workbench.core.texts import Language, catalogue, explain
from workbench_server.execution import Server, request_of
from workbench_server.identity import OwnHandler

Field = dict[str, Any]
#: Where the pages lie below the base URL, and who sees them in the bar: those with the permission.
BAR: tuple[tuple[str, str, str | None], ...] = (
    ("workbench", "home", None),
    ("workbench/account", "account", "account:write"),
    ("workbench/admin", "admin", "users:manage"),
)


@cache
def templates() -> jinja2.Environment:
    """Return the templates; everything that they are given is escaped."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(launch.shipped("templates") / "pages"), autoescape=True)


@cache
def asset(name: str) -> Markup:
    """Return the text of a style or script, which goes into the page itself."""
    return Markup((launch.shipped("templates") / "pages" / name).read_text("utf8"))  # noqa: S704 - our own file


class PageHandler(OwnHandler, JupyterHandler):
    """Base of our pages: nothing from elsewhere, no script but ours, in the reader's language."""

    @cached_property
    def nonce(self) -> str:
        """What marks this page's own style and script."""
        return secrets.token_urlsafe(16)

    @property
    def server(self) -> Server:
        """What every handler stands on."""
        return self.identity_provider.server  # type: ignore[attr-defined,no-any-return]

    @property
    def content_security_policy(self) -> str:
        """Allow what the page itself holds."""
        nonce = f"'nonce-{self.nonce}'"
        return (
            f"default-src 'none'; script-src {nonce}; style-src {nonce}; connect-src 'self'; img-src 'self';"
            " form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
        )

    @property
    def person(self) -> Principal | None:
        """Who reads the page."""
        return self.current_user.principal() if self.current_user is not None else None

    @property
    def asked(self) -> Request:
        """What is known of the request."""
        return request_of(self, self.server)

    @property
    def context(self) -> StreamContext:
        """The request for an async function."""
        server = self.server
        return StreamContext(server.database, server.bus, self.person or ANONYMOUS, server.settings, self.asked)

    @property
    def language(self) -> Language:
        """The reader's language."""
        return self.asked.language

    def word(self, key: str) -> str:
        """Return a text of the pages."""
        return catalogue(self.language)[f"pages.{key}"]

    def page(self, kind: str, title: str, **values: Any) -> None:
        """Send a page."""
        words = {key: text for key, text in catalogue(self.language).items() if key.startswith("pages.")}
        person = self.person
        bar = [
            {"path": path, "label": self.word(f"{name}_title"), "here": name == kind}
            for path, name, permission in BAR
            if person is not None and (permission is None or permission in person.permissions)
        ]
        page = templates().get_template("page.html")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")
        self.finish(
            page.render(
                kind=kind,
                title=title,
                language=self.language,
                nonce=self.nonce,
                base_url=self.base_url,
                words=words,
                person=person,
                navigation=bar,
                xsrf=self.xsrf_token.decode(),
                style=asset("pages.css"),
                **values,
            )
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say in the reader's language what went wrong; what is the server's own fault is in its log."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if getattr(self, "_jupyter_current_user", None) is None:
            self.current_user = None
        if isinstance(error, WorkbenchError):
            status_code = error.status
            said = explain(error.problem().code, error.detail, self.language)
        elif isinstance(error, web.HTTPError) and error.log_message and status_code < 500:
            said = error.log_message
        else:
            said = self.word("away" if status_code == Unavailable.status else "failed")
        self.set_status(status_code)
        if status_code == Unavailable.status:
            self.set_header("Retry-After", str(Unavailable.retry_after))
        self.page("error", self.word("error_title"), error=said)

    def field(self, name: str, kind: str, autocomplete: str, value: str = "") -> Field:
        """Describe a field of a form."""
        fresh = autocomplete == "new-password"
        label = self.word("new_password" if fresh else name)
        return {
            "name": name, "type": kind, "label": label, "autocomplete": autocomplete, "value": value, "new": fresh,
        }  # fmt: skip

    def local(self, url: str, default: str) -> str:
        """Return a URL if it lies below the base URL of this server, else the default: no open redirect."""
        parts = urlsplit(url)
        plain = url.startswith(self.base_url) and not url.startswith(("//", "/\\")) and "\\" not in url
        return url if plain and not parts.scheme and not parts.netloc and url.isprintable() else default

    async def in_transaction(self, work: Callable[[Context], Any]) -> Any:
        """Run a service function in a write transaction."""

        def run() -> Any:
            with self.context.write() as writing:
                answer = work(writing)
                action = f"accounts.{getattr(self, 'action', type(self).__name__)}"
                if writing.user is not ANONYMOUS or writing.noted:
                    audit.record(writing.session, writing.user, action, address=self.asked.address, **writing.noted)
                return answer

        return await asyncio.to_thread(run)


class FormPage(PageHandler):
    """A page with one form; what its service refuses is said above the form, which keeps what was typed."""

    name: ClassVar[str]
    schema: ClassVar[type[BaseModel]]

    def fields(self) -> Sequence[Field]:
        """Describe the form."""
        raise NotImplementedError

    async def submit(self, given: Any) -> None:
        """Do what the form is for, and answer."""
        raise NotImplementedError

    def hidden(self) -> dict[str, str]:
        """Return what the form carries along."""
        return {}

    def links(self) -> Sequence[tuple[str, str]]:
        """Return the ways from here: path and the key of its text."""
        return ()

    def show(self, *, notice: str = "", error: str = "", form: bool = True, **values: Any) -> None:
        """Send the page."""
        fields = {"fields": self.fields(), "hidden": self.hidden(), "submit": self.word(f"{self.name}_submit")}
        ways = [{"path": path, "label": self.word(label)} for path, label in self.links()]
        shown = {**fields, "action": self.request.uri} if form else None
        title = self.word(f"{self.name}_title")
        self.page("form", title, form=shown, notice=notice, error=error, links=ways, **values)

    @allow_unauthenticated
    async def get(self) -> None:
        """Show the form."""
        self.show(form=self.code_is_there())

    @allow_unauthenticated
    async def post(self) -> None:
        """Take the form."""
        given = {name: self.get_body_argument(name, "", strip=name != "password") for name in self.schema.model_fields}
        given = {name: value for name, value in given.items() if value}
        try:
            try:
                wanted = self.schema.model_validate(given)
            except ValidationError as error:
                raise invalid_input(error, self.word(f"{self.name}_title")) from error
            await self.submit(wanted)
        except WorkbenchError as error:
            self.set_status(error.status)
            if error.status in (429, 503):
                self.set_header("Retry-After", str(error.retry_after))
            self.show(error=explain(error.problem().code, error.detail, self.language))

    def code_is_there(self) -> bool:
        """Tell whether what the form needs came with the link."""
        return True

    def typed(self, name: str) -> str:
        """Return what was typed into a field that is shown again."""
        return self.get_body_argument(name, "") if self.request.method == "POST" else ""


class AppPage(PageHandler):
    """A page for people who are logged in."""

    kind: ClassVar[str]
    permission: ClassVar[str | None] = None

    async def get(self) -> None:
        """Show it to who may see it."""
        person = self.person
        assert person is not None, "anonymous callers were sent to the login page"
        if self.permission is not None and self.permission not in person.permissions:
            self.set_status(403)
            self.page("home", self.word(f"{self.kind}_title"), error=self.word("forbidden"))
            return
        self.show()

    def show(self) -> None:
        """Send the page."""
        self.page(self.kind, self.word(f"{self.kind}_title"), script=asset("pages.js"))
