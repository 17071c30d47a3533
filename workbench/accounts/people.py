"""Who a credential stands for: a person, the owner of the server, or a program of either. Never commits."""

from __future__ import annotations

import getpass
import unicodedata

from sqlalchemy import select
from sqlalchemy.orm import Session

from workbench.accounts.roles import ROLES
from workbench.accounts.tables import TeamMember, User
from workbench.core.context import Principal

OWNER = "owner"


def owner() -> Principal:
    """Return the owner of the server: whoever holds Jupyter's own token."""
    return Principal(OWNER, getpass.getuser(), ROLES["admin"])


def person(session: Session, user_id: str) -> Principal | None:
    """Return a person with the permissions of their present role; None for who is unknown, unverified or disabled."""
    if user_id == OWNER:
        return owner()
    row = session.get(User, user_id)
    return principal(session, row) if row is not None and is_active(row) else None


def principal(session: Session, row: User, login_id: str | None = None) -> Principal:
    """Return an account's person."""
    teams = session.scalars(select(TeamMember.team_id).where(TeamMember.user_id == row.id))
    return Principal(row.id, row.name, ROLES[row.role], teams=frozenset(teams), login_id=login_id)  # type: ignore[index]


def is_active(row: User) -> bool:
    """Tell whether an account may be used."""
    return row.verified_at is not None and row.disabled_at is None


def by_address(session: Session, email: str) -> User | None:
    """Return the account of a mail address."""
    return session.scalar(select(User).where(User.email_norm == normal(email)))


def normal(email: str) -> str:
    """Return what equal addresses have in common."""
    return unicodedata.normalize("NFKC", email).strip().casefold()
