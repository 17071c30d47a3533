"""The pages around JupyterLab: log in, register, the account, administration, and the way to the dashboards."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from jupyter_server.auth.decorator import allow_unauthenticated

from workbench import launch
from workbench.accounts import api, authentication, logins, once, people, registration, schemas
from workbench.core.context import Context, Principal
from workbench.jobs.files import live_servers
from workbench_server.identity import WorkbenchIdentityProvider
from workbench_server.pages import BAR, AppPage, Field, FormPage, PageHandler


class LoginPage(FormPage):
    """Log in with an account, or as the owner with the server's token."""

    name, schema = "login", schemas.LoginCreate

    @property
    def content_security_policy(self) -> str:
        """See the base class; a login may lead on to the dashboards, which are another origin."""
        where = urlsplit(dashboards_url(self) or "")
        beyond = f" {where.scheme}://{where.netloc}" if where.netloc else ""
        return super().content_security_policy.replace("form-action 'self'", f"form-action 'self'{beyond}")

    def fields(self) -> Sequence[Field]:
        """See the base class."""
        email = self.field("email", "email", "username", self.typed("email"))
        return (email, self.field("password", "password", "current-password"))

    def links(self) -> Sequence[tuple[str, str]]:
        """See the base class."""
        closed = self.server.settings.registration == "closed"
        return (("workbench/forgot", "forgot_link"), *(() if closed else (("workbench/register", "register_link"),)))

    def show(self, **values: Any) -> None:
        """See the base class."""
        super().show(**values, token_form=self.request.uri)

    @allow_unauthenticated
    async def get(self) -> None:
        """Show the form, or go on when someone is logged in."""
        if self.person is not None:
            self.redirect(self.goal(self.person))
            return
        self.show()

    @allow_unauthenticated
    async def post(self) -> None:
        """Log in."""
        typed = self.get_body_argument("server_token", "")
        if not typed:
            await super().post()
            return
        provider = self.provider
        if not provider.token or not hmac.compare_digest(typed.encode(), provider.token.encode()):
            self.set_status(401)
            self.show(error=self.word("server_token_wrong"))
            return
        owner = provider.user_for_token(typed)
        provider.set_login_cookie(self, owner)
        self.redirect(self.goal(people.owner()))

    async def submit(self, given: schemas.LoginCreate) -> None:
        """Log in with an account."""

        def begin(session: Any, user: Any) -> tuple[str, Principal]:
            row = logins.begin(session, user, address=self.asked.address, agent=self.asked.agent)
            return logins.with_cookie(session, row), people.principal(session, user)

        secret, person = await authentication.log_in(self.context, given, begin)
        self.provider.set_account_cookie(self, secret)
        self.redirect(self.goal(person))

    @property
    def provider(self) -> WorkbenchIdentityProvider:
        """The identity provider, which sets cookies."""
        return self.identity_provider  # type: ignore[return-value]

    def goal(self, person: Principal) -> str:
        """Return where a person goes who has logged in: where they wanted to go, if they may go there."""
        home = f"{self.base_url}workbench"
        wanted = self.local(self.get_query_argument("next", ""), self.base_url)
        return wanted if "kernels:use" in person.permissions or wanted.startswith(home) else home


class LogoutPage(PageHandler):
    """End the login of this browser."""

    action = "logout"

    @allow_unauthenticated
    async def get(self) -> None:
        """End it, and show the form to log in."""
        person = self.person
        if person is not None and person.login_id is not None:
            await self.in_transaction(lambda writing: logins.end(writing, str(person.login_id)))
        if person is not None:
            self.identity_provider.clear_login_cookie(self)
        self.redirect(f"{self.base_url}login")


class RegisterPage(FormPage):
    """Make an account."""

    name, schema = "register", schemas.Registration

    def fields(self) -> Sequence[Field]:
        """See the base class."""
        name = self.field("name", "text", "name", self.typed("name"))
        email = self.field("email", "email", "username", self.typed("email"))
        return (name, email, self.field("password", "password", "new-password"))

    def hidden(self) -> dict[str, str]:
        """See the base class."""
        code = self.get_argument("invitation", "")
        return {"invitation": code} if code else {}

    def links(self) -> Sequence[tuple[str, str]]:
        """See the base class."""
        return (("login", "login_link"),)

    def code_is_there(self) -> bool:
        """See the base class."""
        mode = self.server.settings.registration
        return mode == "open" or (mode == "invite" and bool(self.get_argument("invitation", "")))

    def show(self, **values: Any) -> None:
        """See the base class."""
        closed = not self.code_is_there() and not values.get("notice")
        super().show(**values, intro=self.word("register_closed") if closed else "")

    async def submit(self, given: schemas.Registration) -> None:
        """Make it; the mail has the next step."""
        await registration.register(self.context, given)
        self.show(notice=self.word("registered"), form=False)


class VerifyPage(FormPage):
    """Verify an address: by a click on the page, as mail scanners follow every link."""

    name, schema = "verify", schemas.Code

    def fields(self) -> Sequence[Field]:
        """See the base class."""
        return ()

    def hidden(self) -> dict[str, str]:
        """See the base class."""
        return {"code": self.get_argument("code", "")}

    def links(self) -> Sequence[tuple[str, str]]:
        """See the base class."""
        return (("login", "login_link"), ("workbench/resend", "resend_link"))

    def code_is_there(self) -> bool:
        """See the base class."""
        return bool(self.get_argument("code", ""))

    async def submit(self, given: schemas.Code) -> None:
        """Take the code."""
        await self.in_transaction(partial(api.verify, body=given))
        self.show(notice=self.word("verified"), form=False)


class MailPage(FormPage):
    """Ask for a mail with a link."""

    schema = schemas.Address
    function: ClassVar[Callable[..., Any]]

    def fields(self) -> Sequence[Field]:
        """See the base class."""
        return (self.field("email", "email", "username", self.typed("email")),)

    def links(self) -> Sequence[tuple[str, str]]:
        """See the base class."""
        return (("login", "login_link"),)

    async def submit(self, given: schemas.Address) -> None:
        """Send it, if there is such an account; the answer does not tell."""
        await self.in_transaction(partial(type(self).function, body=given))
        self.show(notice=self.word("mailed"), form=False)


class ResendPage(MailPage):
    """Ask for the verification mail once more."""

    name, action, function = "resend", "resend", staticmethod(api.resend)


class ForgotPage(MailPage):
    """Ask for a link to set a new password."""

    name, action, function = "forgot", "forgot", staticmethod(api.forgot)


class ResetPage(FormPage):
    """Set a new password."""

    name, schema = "reset", schemas.PasswordReset

    def fields(self) -> Sequence[Field]:
        """See the base class."""
        return (self.field("password", "password", "new-password"),)

    def hidden(self) -> dict[str, str]:
        """See the base class."""
        return {"code": self.get_argument("code", "")}

    def links(self) -> Sequence[tuple[str, str]]:
        """See the base class."""
        return (("login", "login_link"), ("workbench/forgot", "forgot_link"))

    def code_is_there(self) -> bool:
        """See the base class."""
        return bool(self.get_argument("code", ""))

    async def submit(self, given: schemas.PasswordReset) -> None:
        """Set it."""
        await registration.reset(self.context, given)
        self.show(notice=self.word("password_set"), form=False)


class HomePage(AppPage):
    """Where people without a kernel arrive: what they may go to."""

    kind = "home"

    def show(self) -> None:
        """See the base class."""
        assert self.person is not None
        allowed = self.person.permissions
        there = [("lab", "lab_link")] if "kernels:use" in allowed else []
        there += [("workbench/dashboards", "dashboards_link")] if "datasets:read" in allowed else []
        there += [(path, f"{name}_title") for path, name, right in BAR if right is not None and right in allowed]
        links = [{"path": path, "label": self.word(label)} for path, label in there]
        self.page("home", self.word("home_title"), links=links, intro=self.word("home_intro"))


class AccountPage(AppPage):
    """One's own account."""

    kind, permission = "account", "account:write"


class AdminPage(AppPage):
    """Accounts, invitations, teams and the audit log."""

    kind, permission = "admin", "users:manage"


class DashboardsPage(PageHandler):
    """Lead to the dashboards, a process and an origin of their own, with a ticket that logs in there once."""

    action = "dashboards"

    async def get(self) -> None:
        """Redirect with a ticket, or say that no dashboards run."""
        person = self.person
        assert person is not None, "anonymous callers were sent to the login page"
        url = dashboards_url(self)
        by_login = person.holder is None and (person.login_id is not None or person.id == people.OWNER)
        if url is None or not by_login or "datasets:read" not in person.permissions:
            self.page("home", self.word("dashboards_link"), error=self.word("no_dashboards"))
            return

        def issue(writing: Context) -> str:
            return once.issue(writing.session, "dashboard", person.id, login=person.login_id)[1]

        ticket = await self.in_transaction(issue)
        path = self.get_query_argument("path", "").lstrip("/")
        self.redirect(f"{url.rstrip('/')}/{quote(path)}?ticket={ticket}")


def dashboards_url(handler: PageHandler) -> str | None:
    """Return where the reader's browser reaches the dashboards, None when none run."""
    settings = handler.server.settings
    running = live_servers(settings.home, launch.DASHBOARDS)
    if settings.dashboards_url is not None or not running:
        return settings.dashboards_url if running else None
    here = urlsplit(str(running[-1]["url"]))
    host = urlsplit(f"//{handler.request.host}").hostname or "127.0.0.1"
    return here._replace(netloc=f"{host}:{here.port}").geturl()


PAGES: tuple[tuple[str, type[PageHandler]], ...] = (
    ("workbench/?", HomePage),
    ("workbench/register", RegisterPage),
    ("workbench/verify", VerifyPage),
    ("workbench/resend", ResendPage),
    ("workbench/forgot", ForgotPage),
    ("workbench/reset", ResetPage),
    ("workbench/account", AccountPage),
    ("workbench/admin", AdminPage),
    ("workbench/dashboards", DashboardsPage),
)
