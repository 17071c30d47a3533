"""The tokens of kernels, jobs, dashboards and people, and what a credential is. Never commits."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.orm import Session

from workbench.accounts import logins, once, people, schemas
from workbench.accounts.once import digest
from workbench.accounts.roles import LIMITS, Limit
from workbench.accounts.tables import AccessToken, Team, TeamMember, User
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.errors import Conflict, Forbidden, NotFound
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


class BeyondScope(Forbidden):
    """A token cannot allow more than its maker may."""

    code = "token.beyond_scope"


def issue(session: Session, user: Principal, limit: Limit, holder: Holder, holder_id: str) -> str:
    """Make a token with which `holder` acts in the name of `user`, within a limit."""
    return _insert(session, user, limit, holder, holder_id)[1]


def revoke(session: Session, holder: Holder, holder_id: str) -> None:
    """End every token of a holder."""
    live = (AccessToken.holder_kind == holder) & (AccessToken.holder_id == holder_id) & AccessToken.revoked_at.is_(None)
    session.execute(update(AccessToken).where(live).values(revoked_at=utcnow()))


def revoke_all(session: Session, holder: Holder) -> None:
    """End the tokens of every holder of a kind: kernels do not outlive their server."""
    live = (AccessToken.holder_kind == holder) & AccessToken.revoked_at.is_(None)
    session.execute(update(AccessToken).where(live).values(revoked_at=utcnow()))


def verify(session: Session, token: str) -> Principal | None:
    """Return the user a live token stands for, None for any other string.

    It allows what its user may today, within its limit and its scopes.
    """
    query = select(AccessToken).where(AccessToken.token_sha256 == digest(token), _live())
    row = session.scalar(query) if token.startswith(TOKEN_PREFIX) else None
    user = people.person(session, row.user_id) if row is not None else None
    if row is None or user is None:
        return None
    allowed = user.permissions & LIMITS[cast(Limit, row.role)]
    if row.scopes is not None:
        allowed &= frozenset(row.scopes)
    return replace(user, permissions=allowed, holder=Ref(kind=row.holder_kind, id=row.holder_id))


def present(session: Session, user: Principal) -> Principal | None:
    """Return who a caller of earlier is by now, with what they still may; None once their credential has ended."""
    person = people.person(session, user.id)
    if person is None or (user.login_id is not None and not logins.is_live(session, user.login_id)):
        return None
    if user.holder is not None:
        same = (AccessToken.holder_kind == user.holder.kind) & (AccessToken.holder_id == user.holder.id)
        if session.scalar(select(AccessToken.id).where(same, _live()).limit(1)) is None:
            return None
    return replace(person, permissions=person.permissions & user.permissions)


def me(context: Context) -> schemas.Me:
    """Show who the caller is."""
    user, session = context.user, context.session
    known = session.get(User, user.id)
    named = {"email": known.email, "role": known.role} if known is not None else {}
    teams = session.scalars(select(Team).where(Team.id.in_(user.teams)).order_by(Team.name))
    return schemas.Me.model_validate(
        {
            "id": user.id,
            "name": user.name,
            "permissions": sorted(user.permissions),
            "teams": [{"id": team.id, "name": team.name} for team in teams],
            **named,
        }
    )


def ticket(context: Context) -> schemas.Ticket:
    """Make a ticket that opens one WebSocket with what the caller's credential allows."""
    allowed = sorted(context.user.permissions)
    _, secret = once.issue(context.session, "socket", context.user.id, permissions=allowed)
    return schemas.Ticket(ticket=secret, expires_in_seconds=int(once.LIFETIMES["socket"].total_seconds()))


def of_ticket(session: Session, secret: str) -> Principal | None:
    """Use a WebSocket's ticket up, and return whom it stands for."""
    used = once.consume(session, "socket", secret)
    user = people.person(session, used.user_id) if used is not None else None
    if used is None or user is None:
        return None
    return replace(user, permissions=user.permissions & frozenset(used.data["permissions"]))


def teams(context: Context) -> schemas.Teams:
    """Return the teams of the caller, and all of them to who manages accounts."""
    statement = select(Team).order_by(Team.name)
    if "users:manage" not in context.user.permissions:
        statement = statement.where(Team.id.in_(context.user.teams))
    return schemas.Teams(items=[team_record(context.session, team) for team in context.session.scalars(statement)])


def team_record(session: Session, team: Team) -> schemas.Team:
    """Return a team as the contract shows it."""
    joined = select(User.id, User.name).join(TeamMember, TeamMember.user_id == User.id)
    rows = session.execute(joined.where(TeamMember.team_id == team.id).order_by(User.name))
    members = [schemas.TeamRef(id=identity, name=name) for identity, name in rows]
    return schemas.Team(id=team.id, name=team.name, members=members)


def create(context: Context, wanted: schemas.TokenCreate) -> schemas.NewToken:
    """Make a personal token: a script's, so it acts as a program does and opens none of Jupyter's own handlers."""
    beyond = sorted(set(wanted.permissions or ()) - (context.user.permissions & LIMITS["program"]))
    if beyond:
        raise BeyondScope(f"A token cannot have the permission {beyond[0]}: you do not have it, or no program may.")
    days = wanted.expires_in_days
    expires_at = utcnow() + timedelta(days=days) if days is not None else None
    row, token = _insert(
        context.session,
        context.user,
        "program",
        "personal",
        name=wanted.name,
        expires_at=expires_at,
        scopes=wanted.permissions,
    )
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
    person: schemas.Holder = "owner" if user.id == people.OWNER else "person"
    kind: Any = user.holder.kind if user.holder is not None else person
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
    session: Session, user: Principal, limit: Limit, holder: Holder, holder_id: str | None = None, **values: Any
) -> tuple[AccessToken, str]:
    token, token_id = TOKEN_PREFIX + secrets.token_urlsafe(32), new_id("tok")
    row = AccessToken(
        id=token_id,
        token_sha256=digest(token),
        holder_kind=holder,
        holder_id=holder_id or token_id,
        user_id=user.id,
        user_name=user.name,
        role=limit,
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
    own = {name: getattr(row, name) for name in schemas.Token.model_fields.keys() - {"permissions"}}
    return schemas.Token.model_validate({**own, "permissions": row.scopes})
