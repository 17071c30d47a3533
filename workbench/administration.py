"""`workbench admin` and `workbench audit`: accounts and the audit log, without a server."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import BaseModel, ValidationError

from workbench import launch
from workbench.accounts import admin, audit, passwords, people, registration, schemas, signing
from workbench.core.clock import utcnow
from workbench.core.context import Context, Request
from workbench.core.database import Database
from workbench.core.errors import Conflict, WorkbenchError, invalid_input
from workbench.core.settings import Settings
from workbench.core.texts import preferred_language


class AccountExists(Conflict):
    """The address has an account."""

    code = "user.exists"


class AuditBroken(WorkbenchError):
    """The audit log was changed."""

    code = "audit.broken"


def create(settings: Settings, email: str, role: str, name: str | None, password_stdin: bool) -> None:
    """Make an account whose address counts as verified."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _asked()
    given = {"email": email, "name": name or email.partition("@")[0], "password": password}
    wanted = _checked(schemas.Registration, given, "the account")
    checked_role = _checked(schemas.UserUpdate, {"role": role}, "the role").role
    assert checked_role is not None
    password_hash = passwords.HASHER.hash(wanted.password.get_secret_value())
    with _open(settings) as context:
        if people.by_address(context.session, email) is not None:
            raise AccountExists(f"{email} has an account already; `workbench admin role` changes its role.")
        user = registration.add(context.session, email, wanted.name, password_hash, checked_role)
        user.verified_at = utcnow()
        audit.record(context.session, context.user, "admin.create", user.id, role=checked_role)
    typer.echo(f"{email} can log in as {role}.")


def invite(settings: Settings, email: str, role: str) -> None:
    """Print the link of an invitation; it is mailed too when it is for an address."""
    wanted = _checked(schemas.InvitationCreate, {"role": role, "email": email or None}, "the invitation")
    with _open(settings) as context:
        made = admin.invite(context, wanted)
        audit.record(context.session, context.user, "admin.invite", made.id, role=made.role)
    typer.echo(f"{context.request.base_url}{made.path}")


def change_role(settings: Settings, email: str, role: str) -> None:
    """Change an account's role."""
    change = _checked(schemas.UserUpdate, {"role": role}, "the role")
    with _open(settings) as context:
        user = people.by_address(context.session, email)
        if user is None:
            raise admin.UserNotFound(f"{email} has no account here.")
        admin.update_user(context, user.id, change)
        audit.record(context.session, context.user, "admin.role", user.id, **context.noted)
    typer.echo(f"{email} is {role}.")


def rotate_keys(settings: Settings) -> None:
    """Sign access tokens with a new key from now on."""
    kid = signing.rotate(settings)
    with _open(settings) as context:
        audit.record(context.session, context.user, "admin.rotate_keys", kid)
    typer.echo(f"Access tokens are signed with the key {kid} from now on.")


def verify_audit(settings: Settings, as_json: bool) -> None:
    """Follow the audit log's chain; raises `AuditBroken` when it does not hold."""
    with _open(settings) as context:
        found = audit.verify(context.session)
    if as_json:
        typer.echo(found.model_dump_json())
    if not found.holds:
        raise AuditBroken(f"The audit log does not hold: entry {found.broken_at} is not the one that was written.")
    if not as_json:
        typer.echo(f"The audit log holds: {found.entries} entries, head {found.head}.")


@contextmanager
def _open(settings: Settings) -> Iterator[Context]:
    """Open the home's database as its owner, who has a shell here."""
    database = Database(settings.resolved_database_url())
    database.prepare()
    server = launch.running_server(settings.home)
    url = settings.public_url or (str(server["url"]) if server is not None else "http://<server>/")
    request = Request(address="console", base_url=f"{url.rstrip('/')}/", language=preferred_language())
    try:
        with database.write() as session:
            yield Context(session, people.owner(), settings, request)
    finally:
        database.close()


def _asked() -> str:
    first = getpass.getpass("Password (10 characters or more): ")
    if first != getpass.getpass("Once more: "):
        raise Conflict("The two passwords differ; nothing was made.")
    return first


def _checked(model: type[Any], given: dict[str, Any], place: str) -> Any:
    assert issubclass(model, BaseModel)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid_input(error, place) from error
