"""From a stranger to a person: register, verify the address, and set a new or a forgotten password.

Answers are the same for known and unknown addresses. Passwords are hashed outside any transaction.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from workbench.accounts import audit, limits, logins, mail, once, passwords, people, schemas
from workbench.accounts.roles import Role
from workbench.accounts.tables import OnceToken, User
from workbench.core.clock import utcnow
from workbench.core.context import Context, StreamContext
from workbench.core.errors import Conflict, Forbidden, Invalid
from workbench.core.ids import new_id
from workbench.core.texts import text

REGISTERED = "If this address can have an account here, a mail with a link is on its way; follow it within 24 hours."
MAILED = "If this address has an account here, a mail with a link is on its way."


class RegistrationClosed(Forbidden):
    """Nobody can make an account here by themselves."""

    code = "auth.registration_closed"


class InvitationRefused(Forbidden):
    """The invitation cannot be used."""

    code = "auth.invitation_refused"


class CodeRefused(Invalid):
    """The link is not one that can be used."""

    code = "auth.code_refused"


class WrongPassword(Forbidden):
    """The present password is wrong."""

    code = "auth.wrong_password"


class NoAccount(Conflict):
    """The server's owner has no account."""

    code = "auth.no_account"


async def register(context: StreamContext, wanted: schemas.Registration) -> schemas.Accepted:
    """Make an account that its address must verify; an address that has one already gets a mail that says so."""
    limits.count(limits.REGISTRATION, "register", context.request.address)
    await asyncio.to_thread(_check_mode, context, wanted)
    password_hash = await passwords.hashed(wanted.password.get_secret_value())

    def insert() -> None:
        with context.write() as writing:
            role = _role(writing, wanted)
            known = people.by_address(writing.session, wanted.email)
            spent = limits.is_spent(limits.MAIL, "register", people.normal(wanted.email))
            if known is not None and (known.verified_at is not None or known.disabled_at is not None):
                if not spent and people.is_active(known):
                    _mail_text(writing, known, "known", writing.request.base_url)
                return
            user = known or add(writing.session, wanted.email, wanted.name, password_hash, role)
            # until an address is verified nobody knows who was first: each link verifies its own registration
            chosen = {"name": wanted.name.strip(), "password_hash": password_hash, "role": role}
            _take(user, chosen)
            actor, address = people.principal(writing.session, user), context.request.address
            audit.record(writing.session, actor, "auth.register", user.id, address=address, role=role)
            if not spent:
                _mail_code(writing, user, "verify", **chosen)

    try:
        await asyncio.to_thread(insert)
    except IntegrityError:  # another request was first with this address
        await asyncio.to_thread(insert)
    return schemas.Accepted(message=REGISTERED)


def add(session: Session, email: str, name: str, password_hash: str, role: Role) -> User:
    """Add an account whose address is not verified yet."""
    user = User(
        id=new_id("usr"),
        email=email.strip(),
        email_norm=people.normal(email),
        name=name.strip(),
        password_hash=password_hash,
        role=role,
        epoch=0,
        created_at=utcnow(),
    )
    session.add(user)
    session.flush()
    return user


def verify(context: Context, code: str) -> schemas.Accepted:
    """Take the code of a verification mail, and with it the name and password of the registration that it was for."""
    limits.count(limits.CODES, "codes", context.request.address)
    used = once.consume(context.session, "verify", code)
    user = context.session.get(User, used.user_id) if used is not None else None
    if used is None or user is None:
        raise CodeRefused("This link was used before, or is older than 24 hours; ask for another one.")
    if user.verified_at is None:
        _take(user, used.data)
        user.verified_at = utcnow()
    context.noted["user"] = user.id
    return schemas.Accepted(message="The address is verified; you can log in now.")


def resend(context: Context, email: str) -> schemas.Accepted:
    """Mail the verification link once more."""
    limits.count(limits.CODES, "mails", context.request.address)
    user = people.by_address(context.session, email)
    spent = limits.is_spent(limits.MAIL, "verify", people.normal(email))
    if user is not None and user.verified_at is None and not spent:
        _mail_code(context, user, "verify", name=user.name, password_hash=user.password_hash, role=user.role)
    return schemas.Accepted(message=MAILED)


def forgot(context: Context, email: str) -> schemas.Accepted:
    """Mail a link with which a new password can be set."""
    limits.count(limits.CODES, "mails", context.request.address)
    user = people.by_address(context.session, email)
    spent = limits.is_spent(limits.MAIL, "reset", people.normal(email))
    if user is not None and user.disabled_at is None and not spent:
        _mail_code(context, user, "reset")
    return schemas.Accepted(message=MAILED)


async def reset(context: StreamContext, wanted: schemas.PasswordReset) -> schemas.Accepted:
    """Set a new password with the code of a mail, and end every earlier credential."""

    def look() -> bool:
        with context.read() as reading:
            return once.look(reading.session, "reset", wanted.code) is not None

    def save() -> bool:
        with context.write() as writing:
            used = once.consume(writing.session, "reset", wanted.code)
            user = writing.session.get(User, used.user_id) if used is not None else None
            if user is None:
                return False
            user.verified_at = user.verified_at or utcnow()  # the mail was read
            _set_password(writing, user, password_hash, "auth.password_reset")
            return True

    limits.count(limits.CODES, "codes", context.request.address)
    refused = CodeRefused("This link was used before, or is older than 30 minutes; ask for another one.")
    if not await asyncio.to_thread(look):
        raise refused
    password_hash = await passwords.hashed(wanted.password.get_secret_value())
    if not await asyncio.to_thread(save):
        raise refused
    return schemas.Accepted(message="The password is set, and every earlier login has ended; log in with it now.")


async def change_password(context: StreamContext, wanted: schemas.PasswordChange) -> schemas.Accepted:
    """Set a new password in place of the present one, and end every earlier credential, this one included."""

    def find() -> User:
        with context.read() as reading:
            return account(reading)

    def save() -> None:
        with context.write() as writing:
            user = account(writing)
            if user.password_hash != found.password_hash:
                raise WrongPassword("The password was changed by someone else a moment ago.")
            limits.forgive(user.email_norm, context.request.address)
            _set_password(writing, user, password_hash, "auth.password_changed")

    def refuse() -> None:
        with context.write() as writing:
            address = context.request.address
            audit.record(writing.session, context.user, "auth.password_refused", found.id, address=address)

    found = await asyncio.to_thread(find)
    limits.count_login(found.email_norm, context.request.address)
    if not await passwords.matches(found.password_hash, wanted.current.get_secret_value()):
        limits.count_failure(context.request.address)
        await asyncio.to_thread(refuse)
        raise WrongPassword("The present password is wrong.")
    password_hash = await passwords.hashed(wanted.password.get_secret_value())
    await asyncio.to_thread(save)
    return schemas.Accepted(message="The password is changed, and every earlier login has ended; log in with it now.")


def update_me(context: Context, change: schemas.MeUpdate) -> None:
    """Change what people may change of their own account."""
    account(context).name = change.name.strip()
    context.session.flush()


def account(context: Context) -> User:
    """Return the caller's account; raises `NoAccount` for the server's owner."""
    row = context.session.get(User, context.user.id)
    if row is None:
        raise NoAccount("The server's owner has no account; `workbench admin create` makes one.")
    return row


def _check_mode(context: StreamContext, wanted: schemas.Registration) -> None:
    with context.read() as reading:
        _invitation(reading.session, wanted, use=False, mode=context.settings.registration)


def _role(context: Context, wanted: schemas.Registration) -> Role:
    """Return the role of a new account, and use its invitation up."""
    used = _invitation(context.session, wanted, use=True, mode=context.settings.registration)
    return used.data["role"] if used is not None else "reviewer"


def _invitation(session: Session, wanted: schemas.Registration, *, use: bool, mode: str) -> OnceToken | None:
    """Return the invitation that came along; raise when one is needed that is not there."""
    if mode == "closed":
        raise RegistrationClosed("Accounts are made by an admin here; ask for one.")
    if wanted.invitation is None:
        if mode == "invite":
            raise RegistrationClosed("An account needs an invitation here; ask an admin for a link.")
        return None
    found = once.look(session, "invite", wanted.invitation)
    maker = people.person(session, found.user_id) if found is not None else None
    if (
        found is None
        or maker is None
        or "users:manage" not in maker.permissions
        or found.data.get("email") not in (None, people.normal(wanted.email))
    ):
        raise InvitationRefused("This invitation was used before, has expired, or is for another address.")
    if use:
        found = once.consume(session, "invite", wanted.invitation)
        if found is None:
            raise InvitationRefused("This invitation was used a moment ago.")
    return found


def _set_password(context: Context, user: User, password_hash: str, action: str) -> None:
    user.password_hash = password_hash
    logins.end_everything(context.session, user)
    once.withdraw(context.session, "reset", user.id)
    for purpose in ("socket", "dashboard"):
        once.withdraw(context.session, purpose, user.id)
    actor = people.principal(context.session, user)
    audit.record(context.session, actor, action, user.id, address=context.request.address)


def _take(user: User, chosen: dict[str, Any]) -> None:
    """Give an account that nobody has verified what a registration has chosen."""
    for name in chosen.keys() & {"name", "password_hash", "role"}:
        setattr(user, name, chosen[name])


def _mail_code(context: Context, user: User, purpose: once.Purpose, **data: Any) -> None:
    _, code = once.issue(context.session, purpose, user.id, **data)
    context.noted["user"] = user.id
    _mail_text(context, user, purpose, f"{context.request.base_url.rstrip('/')}/workbench/{purpose}?code={code}")


def _mail_text(context: Context, user: User, kind: str, link: str) -> None:
    language = context.request.language
    body = text(f"mail.{kind}_body", language, name=user.name, link=link)
    mail.enqueue(context.session, user.email, text(f"mail.{kind}_subject", language), body)


def open_invitations(session: Session) -> list[OnceToken]:
    """Return the invitations that can be used, newest first."""
    live = OnceToken.used_at.is_(None) & (OnceToken.expires_at > utcnow()) & (OnceToken.purpose == "invite")
    return list(session.scalars(select(OnceToken).where(live).order_by(OnceToken.id.desc())))
