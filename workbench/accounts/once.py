"""Tokens that can be used once: those of mails, invitations, WebSockets and dashboards. Never commits."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from workbench.accounts.tables import OnceToken
from workbench.core.clock import utcnow
from workbench.core.ids import new_id

Purpose = Literal["verify", "reset", "invite", "socket", "dashboard"]
LIFETIMES: dict[Purpose, timedelta] = {
    "verify": timedelta(hours=24),
    "reset": timedelta(minutes=30),
    "invite": timedelta(days=7),
    "socket": timedelta(seconds=30),
    "dashboard": timedelta(seconds=60),
}


def issue(
    session: Session, purpose: Purpose, user_id: str, lifetime: timedelta | None = None, **data: Any
) -> tuple[OnceToken, str]:
    """Make a token; its text is returned this once."""
    token = secrets.token_urlsafe(32)
    row = OnceToken(
        id=new_id("once"),
        token_sha256=digest(token),
        purpose=purpose,
        user_id=user_id,
        data=data,
        created_at=utcnow(),
        expires_at=utcnow() + (lifetime or LIFETIMES[purpose]),
    )
    session.add(row)
    session.flush()
    return row, token


def consume(session: Session, purpose: Purpose, token: str) -> OnceToken | None:
    """Use a token up and return it; None when it is unknown, used or expired. Of two users, one gets it."""
    live = OnceToken.used_at.is_(None) & (OnceToken.expires_at > utcnow()) & (OnceToken.purpose == purpose)
    found = update(OnceToken).where(OnceToken.token_sha256 == digest(token), live).values(used_at=utcnow())
    identity = session.scalar(found.returning(OnceToken.id))
    return session.get(OnceToken, identity, populate_existing=True) if identity is not None else None


def look(session: Session, purpose: Purpose, token: str) -> OnceToken | None:
    """Return a token that could be used now, without using it."""
    live = OnceToken.used_at.is_(None) & (OnceToken.expires_at > utcnow()) & (OnceToken.purpose == purpose)
    return session.scalar(select(OnceToken).where(OnceToken.token_sha256 == digest(token), live))


def withdraw(session: Session, purpose: Purpose, user_id: str) -> None:
    """Use up every open token of a purpose that stands for a person."""
    open_ones = (OnceToken.purpose == purpose) & (OnceToken.user_id == user_id) & OnceToken.used_at.is_(None)
    session.execute(update(OnceToken).where(open_ones).values(used_at=utcnow()))


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
