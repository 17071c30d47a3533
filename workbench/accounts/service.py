"""Who a caller is: the owner of the server, or the holder of a kernel's, a job's or a personal token. Never commits."""

from __future__ import annotations

import getpass
import hashlib
import secrets
from datetime import timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.orm import Session

from workbench.accounts import schemas
from workbench.accounts.roles import ROLES, Role
from workbench.accounts.tables import AccessToken
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.errors import Conflict, NotFound
from workbench.core.ids import new_id
from workbench.core.schemas import Ref

TOKEN_PREFIX = "wbk_"  # noqa: S105 - marks our tokens in logs and secret scanners
USE_INTERVAL = timedelta(minutes=1)  # between two notes that a personal token is in use
Holder = Literal["kernel", "job", "dashboard", "personal"]


class TokenNotFound(NotFound):
    """You have no such token."""

    code = "token.not_found"


class NotPersonal(Conflict):
    """The credential is not a personal token."""

    code = "token.not_personal"


def owner() -> Principal:
    """Return the single user of an embedded server: whoever holds Jupyter's own token is its owner."""
    return Principal("owner", getpass.getuser(), ROLES["admin"])


def issue(session: Session, user: Principal, role: Role, holder: Holder, holder_id: str) -> str:
    """Make a token with which `holder` acts in the name of `user` and with the permissions of `role`."""
    return _insert(session, user, role, holder, holder_id)[1]


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
    query = select(AccessToken).where(AccessToken.token_sha256 == _digest(token), _live())
    row = session.scalar(query) if token.startswith(TOKEN_PREFIX) else None
    if row is None:
        return None
    holder = Ref(kind=row.holder_kind, id=row.holder_id)
    return Principal(row.user_id, row.user_name, ROLES[cast(Role, row.role)], holder)


def create(context: Context, wanted: schemas.TokenCreate) -> schemas.NewToken:
    """Make a personal token: a script's, so it acts as a program does and opens none of Jupyter's own handlers."""
    days = wanted.expires_in_days
    expires_at = utcnow() + timedelta(days=days) if days is not None else None
    row, token = _insert(context.session, context.user, "program", "personal", name=wanted.name, expires_at=expires_at)
    context.session.flush()
    return schemas.NewToken(**_record(row).model_dump(), token=token)


def listing(context: Context) -> schemas.Tokens:
    """Return the caller's live personal tokens, newest first."""
    rows = context.session.scalars(_personal(context.user).order_by(AccessToken.id.desc()))
    return schemas.Tokens(items=[_record(row) for row in rows])


def end(context: Context, token_id: str) -> None:
    """End one of the caller's personal tokens."""
    row = context.session.scalar(_personal(context.user).where(AccessToken.id == token_id))
    if row is None:
        raise TokenNotFound("You have no live token with this id; `GET /api/auth/tokens` lists yours.")
    row.revoked_at = utcnow()


def end_own(context: Context) -> None:
    """End the personal token that the request came with."""
    token_id = credential(context.user).token_id
    if token_id is None:
        raise NotPersonal("The request did not come with a personal token, so there is none to end.")
    end(context, token_id)


def credential(user: Principal) -> schemas.Credential:
    """Describe what a caller came with."""
    kind: Any = user.holder.kind if user.holder is not None else "owner"
    token_id = user.holder.id if user.holder is not None and kind == "personal" else None
    return schemas.Credential(user_name=user.name, permissions=sorted(user.permissions), holder=kind, token_id=token_id)


def use_is_news(session: Session, user: Principal) -> bool:
    """Tell whether the use of a caller's personal token was not noted for a while."""
    if user.holder is None or user.holder.kind != "personal":
        return False
    last = session.get_one(AccessToken, user.holder.id).last_used_at
    return last is None or utcnow() - last > USE_INTERVAL


def note_use(session: Session, user: Principal) -> None:
    """Write down that a caller's personal token is in use."""
    assert user.holder is not None
    session.execute(update(AccessToken).where(AccessToken.id == user.holder.id).values(last_used_at=utcnow()))


def _insert(
    session: Session, user: Principal, role: Role, holder: Holder, holder_id: str | None = None, **values: Any
) -> tuple[AccessToken, str]:
    token, token_id = TOKEN_PREFIX + secrets.token_urlsafe(32), new_id("tok")
    row = AccessToken(
        id=token_id,
        token_sha256=_digest(token),
        holder_kind=holder,
        holder_id=holder_id or token_id,
        user_id=user.id,
        user_name=user.name,
        role=role,
        **values,
    )
    session.add(row)
    return row, token


def _live() -> ColumnElement[bool]:
    unexpired = or_(AccessToken.expires_at.is_(None), AccessToken.expires_at > utcnow())
    return AccessToken.revoked_at.is_(None) & unexpired


def _personal(user: Principal) -> Select[AccessToken]:
    mine = (AccessToken.user_id == user.id) & (AccessToken.holder_kind == "personal")
    return select(AccessToken).where(mine, _live())


def _record(row: AccessToken) -> schemas.Token:
    return schemas.Token.model_validate({name: getattr(row, name) for name in schemas.Token.model_fields})


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
