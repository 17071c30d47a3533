"""Who a caller is: the owner of the server, or the holder of a kernel's or job's token."""

from __future__ import annotations

import getpass
import hashlib
import secrets
from typing import Literal, cast

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from workbench.accounts.roles import ROLES, Role
from workbench.accounts.tables import AccessToken
from workbench.core.clock import utcnow
from workbench.core.context import Principal
from workbench.core.ids import new_id

TOKEN_PREFIX = "wbk_"  # noqa: S105 - marks our tokens in logs and secret scanners
Holder = Literal["kernel", "job", "dashboard"]


def owner() -> Principal:
    """Return the single user of an embedded server: whoever holds Jupyter's own token is its owner."""
    return Principal("owner", getpass.getuser(), ROLES["admin"])


def issue(session: Session, user: Principal, role: Role, holder: Holder, holder_id: str) -> str:
    """Make a token with which `holder` acts in the name of `user` and with the permissions of `role`."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = AccessToken(
        id=new_id("tok"),
        token_sha256=_digest(token),
        holder_kind=holder,
        holder_id=holder_id,
        user_id=user.id,
        user_name=user.name,
        role=role,
    )
    session.add(row)
    return token


def revoke(session: Session, holder: Holder, holder_id: str) -> None:
    """End every token of a holder."""
    live = (AccessToken.holder_kind == holder) & (AccessToken.holder_id == holder_id) & AccessToken.revoked_at.is_(None)
    session.execute(update(AccessToken).where(live).values(revoked_at=utcnow()))


def revoke_all(session: Session, holder: Holder) -> None:
    """End the tokens of every holder of a kind: kernels do not outlive their server."""
    live = (AccessToken.holder_kind == holder) & AccessToken.revoked_at.is_(None)
    session.execute(update(AccessToken).where(live).values(revoked_at=utcnow()))


def verify(session: Session, token: str) -> Principal | None:
    """Return the user a live token stands for, None for any other string."""
    query = select(AccessToken).where(AccessToken.token_sha256 == _digest(token), AccessToken.revoked_at.is_(None))
    row = session.scalar(query) if token.startswith(TOKEN_PREFIX) else None
    return Principal(row.user_id, row.user_name, ROLES[cast(Role, row.role)]) if row is not None else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
