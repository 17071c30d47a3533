"""Logging in, by a browser and by a program, and going on with a refresh token.

Answers are the same for known and unknown addresses. Passwords are hashed outside any transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from workbench.accounts import audit, limits, logins, once, passwords, people, schemas
from workbench.accounts.signing import keys
from workbench.accounts.tables import User
from workbench.core.context import ANONYMOUS, StreamContext
from workbench.core.errors import Forbidden, Unauthenticated

T = TypeVar("T")


class LoginRefused(Unauthenticated):
    """The address or the password is wrong."""

    code = "auth.login_refused"


class Unverified(Forbidden):
    """The address is not verified."""

    code = "auth.unverified"


class Disabled(Forbidden):
    """The account is disabled."""

    code = "auth.disabled"


async def log_in(context: StreamContext, wanted: schemas.LoginCreate, begin: Callable[[Session, User], T]) -> T:
    """Check a password and let `begin` make the login; a wrong one is counted, and answered as an unknown address."""
    account_name = people.normal(wanted.email)
    limits.count_login(account_name, context.request.address)

    def find() -> User | None:
        with context.read() as reading:
            return people.by_address(reading.session, wanted.email)

    user = await asyncio.to_thread(find)
    password = wanted.password.get_secret_value()
    known_hash = user.password_hash if user is not None else None
    fits = await passwords.matches(known_hash, password)
    fresh = await passwords.hashed(password) if fits and known_hash and passwords.is_outdated(known_hash) else None
    if fits:
        limits.forgive(account_name, context.request.address)
    else:
        limits.count_failure(context.request.address)
    return await asyncio.to_thread(_begin, context, user if fits else None, known_hash, fresh, account_name, begin)


def _begin(
    context: StreamContext,
    found: User | None,
    known_hash: str | None,
    fresh_hash: str | None,
    account_name: str,
    begin: Callable[[Session, User], T],
) -> T:
    with context.write() as writing:
        session = writing.session
        user = session.get(User, found.id) if found is not None else None
        if user is None or user.password_hash != known_hash:  # changed meanwhile
            audit.record(
                session,
                ANONYMOUS,
                "auth.login_refused",
                address=context.request.address,
                account=once.digest(account_name),
            )
            made = None
        elif not people.is_active(user):
            audit.record(
                session, people.principal(session, user), "auth.login_inactive", address=context.request.address
            )
            made = None
        else:
            user.password_hash = fresh_hash or user.password_hash
            audit.record(
                session, people.principal(session, user), "auth.login", user.id, address=context.request.address
            )
            made = begin(session, user)
    if made is not None:
        return made
    if user is None or user.password_hash != known_hash:
        raise LoginRefused("The address or the password is wrong.")
    if user.disabled_at is not None:
        raise Disabled("This account is disabled; ask an admin.")
    raise Unverified("This address is not verified yet: follow the link in the mail, or ask for another one.")


async def log_in_for_tokens(context: StreamContext, wanted: schemas.LoginCreate) -> schemas.TokenPair:
    """Log in a program: an access token and a refresh token."""
    signing = keys(context.settings)

    def begin(session: Session, user: User) -> schemas.TokenPair:
        row = logins.begin(session, user, address=context.request.address, agent=context.request.agent)
        return logins.with_tokens(session, row, user, signing)

    return await log_in(context, wanted, begin)


async def log_in_for_cookie(context: StreamContext, wanted: schemas.LoginCreate) -> str:
    """Log in a browser: what its cookie shall hold."""

    def begin(session: Session, user: User) -> str:
        row = logins.begin(session, user, address=context.request.address, agent=context.request.agent)
        return logins.with_cookie(session, row)

    return await log_in(context, wanted, begin)


async def refresh(context: StreamContext, token: str) -> schemas.TokenPair:
    """Exchange a refresh token; that a used one came again is kept, also when the answer is a refusal."""

    def exchange() -> schemas.TokenPair | None:
        with context.write() as writing:
            return logins.rotate(writing, token, keys(context.settings))

    pair = await asyncio.to_thread(exchange)
    if pair is None:
        raise logins.RefreshRefused("This refresh token is unknown, used or expired; log in again.")
    return pair
