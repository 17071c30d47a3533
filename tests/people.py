"""Accounts for tests, made directly in a database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from workbench.accounts import logins, passwords, people, registration
from workbench.accounts.roles import Role
from workbench.accounts.signing import keys
from workbench.accounts.tables import User
from workbench.core.clock import utcnow
from workbench.core.context import Principal
from workbench.core.settings import Settings

PASSWORD = "a long enough password"
SMTP_PASSWORD = "canary-of-the-mail-server"
#: One hash for all of them: argon2 takes its time.
HASH = passwords.HASHER.hash(PASSWORD)


def make_user(session: Session, name: str, role: Role = "researcher", *, verified: bool = True) -> User:
    """Make an account whose address is `<name>@example.org`."""
    user = registration.add(session, f"{name.lower()}@example.org", name, HASH, role)
    user.verified_at = utcnow() if verified else None
    session.flush()
    return user


def make_person(session: Session, name: str, role: Role = "researcher") -> Principal:
    """Make an account and return its person."""
    return people.principal(session, make_user(session, name, role))


def access_token(session: Session, settings: Settings, user: User) -> str:
    """Log an account in, and return its access token."""
    login = logins.begin(session, user, address="127.0.0.1", agent="test")
    return logins.with_tokens(session, login, user, keys(settings)).access_token
