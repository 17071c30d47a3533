"""Logins: cookies of browsers and families of refresh tokens; both end at once when they are revoked. Never commits."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from workbench.accounts import audit, people, schemas
from workbench.accounts.once import digest
from workbench.accounts.signing import LIFETIME, Claims, Keys
from workbench.accounts.tables import AccessToken, Login, RefreshToken, User
from workbench.core.clock import utcnow
from workbench.core.context import Context, Principal
from workbench.core.errors import NotFound, Unauthenticated
from workbench.core.ids import new_id

IDLE = timedelta(days=14)  # after which an unused login ends
LONGEST = timedelta(days=60)  # after which any login ends
GRACE = timedelta(seconds=10)  # in which parallel tabs get the same next token for a used one
USE_INTERVAL = timedelta(minutes=1)  # between two notes that a login is in use
COOKIE_PREFIX, REFRESH_PREFIX = "wbs_", "wbr_"


class RefreshRefused(Unauthenticated):
    """The refresh token is not one that can be used."""

    code = "auth.refresh_refused"


class LoginNotFound(NotFound):
    """You have no such login."""

    code = "auth.login_not_found"


def begin(session: Session, user: User, *, address: str, agent: str) -> Login:
    """Begin a login of an account."""
    row = Login(
        id=new_id("login"),
        user_id=user.id,
        address=address[:64],
        agent=agent[:200],
        created_at=utcnow(),
        last_used_at=utcnow(),
        expires_at=utcnow() + LONGEST,
    )
    user.last_login_at = utcnow()
    session.add(row)
    session.flush()
    return row


def with_cookie(session: Session, row: Login) -> str:
    """Make a login a browser's, and return what its cookie holds."""
    secret = COOKIE_PREFIX + secrets.token_urlsafe(32)
    row.cookie_sha256 = digest(secret)
    session.flush()
    return secret


def with_tokens(session: Session, row: Login, user: User, keys: Keys) -> schemas.TokenPair:
    """Make a login a family of refresh tokens, and return the first pair."""
    return _pair(session, row, user, keys, REFRESH_PREFIX + secrets.token_urlsafe(32))


def of_cookie(session: Session, secret: str) -> Principal | None:
    """Return the person of a browser's cookie."""
    query = select(Login).where(Login.cookie_sha256 == digest(secret), _live())
    row = session.scalar(query) if secret.startswith(COOKIE_PREFIX) else None
    return _person(session, row)


def of_claims(session: Session, claims: Claims) -> Principal | None:
    """Return the person of an access token, with today's role; None once its login or its epoch has ended."""
    row = session.scalar(select(Login).where(Login.id == claims.login_id, _live()))
    user = session.get(User, claims.user_id)
    if row is None or user is None or row.user_id != user.id or user.epoch != claims.epoch:
        return None
    return _person(session, row)


def is_live(session: Session, login_id: str) -> bool:
    """Tell whether a login still holds."""
    return session.scalar(select(Login.id).where(Login.id == login_id, _live())) is not None


def use_is_news(session: Session, login_id: str) -> bool:
    """Tell whether the use of a login was not noted for a while."""
    return utcnow() - session.get_one(Login, login_id).last_used_at > USE_INTERVAL


def note_use(session: Session, login_id: str) -> None:
    """Write down that a login is in use, which keeps it alive."""
    session.execute(update(Login).where(Login.id == login_id).values(last_used_at=utcnow()))


def rotate(context: Context, token: str, keys: Keys) -> schemas.TokenPair | None:
    """Exchange a refresh token for the next pair; None when it is refused.

    A token that comes again within `GRACE` gets the same successor; later it ends the whole login, because then one of
    its two holders has stolen it.
    """
    session = context.session
    row = session.scalar(select(RefreshToken).where(RefreshToken.token_sha256 == digest(token)))
    login = session.scalar(select(Login).where(Login.id == row.login_id, _live())) if row is not None else None
    user = session.get(User, login.user_id) if login is not None else None
    if row is None or login is None or user is None or not people.is_active(user):
        return None
    first = update(RefreshToken).where(RefreshToken.token_sha256 == row.token_sha256, RefreshToken.used_at.is_(None))
    used = session.scalar(first.values(used_at=utcnow()).returning(RefreshToken.token_sha256)) is not None
    if not used:
        session.refresh(row)
    if not used and row.used_at is not None and utcnow() - row.used_at > GRACE:
        _end(session, Login.id == login.id)
        actor = people.principal(session, user, login.id)
        audit.record(session, actor, "auth.refresh_reused", login.id, address=context.request.address)
        return None
    note_use(session, login.id)
    return _pair(session, login, user, keys, REFRESH_PREFIX + keys.derive("refresh", token))


def end(context: Context, login_id: str) -> None:
    """End one of the caller's logins."""
    if not _end(context.session, (Login.id == login_id) & (Login.user_id == context.user.id)):
        raise LoginNotFound("You have no live login with this id; `GET /api/auth/logins` lists yours.")


def end_all(session: Session, user_id: str) -> None:
    """End every login of an account."""
    _end(session, Login.user_id == user_id)


def end_everything(session: Session, user: User) -> None:
    """End every credential that an account ever got, those of its kernels and jobs too."""
    user.epoch += 1
    end_all(session, user.id)
    live = (AccessToken.user_id == user.id) & AccessToken.revoked_at.is_(None)
    session.execute(update(AccessToken).where(live).values(revoked_at=utcnow()))


def listing(context: Context) -> schemas.Logins:
    """Return the caller's live logins, newest first."""
    mine = select(Login).where(Login.user_id == context.user.id, _live()).order_by(Login.id.desc())
    return schemas.Logins(items=[_record(context, row) for row in context.session.scalars(mine)])


def _pair(session: Session, login: Login, user: User, keys: Keys, refresh: str) -> schemas.TokenPair:
    if session.get(RefreshToken, digest(refresh)) is None:
        session.add(RefreshToken(token_sha256=digest(refresh), login_id=login.id, created_at=utcnow()))
        session.flush()
    access = keys.sign(Claims(user.id, login.id, user.epoch))
    seconds = int(LIFETIME.total_seconds())
    return schemas.TokenPair(access_token=access, refresh_token=refresh, expires_in_seconds=seconds)


def _person(session: Session, row: Login | None) -> Principal | None:
    user = session.get(User, row.user_id) if row is not None else None
    if row is None or user is None or not people.is_active(user):
        return None
    return people.principal(session, user, row.id)


def _live() -> ColumnElement[bool]:
    now = utcnow()
    return Login.revoked_at.is_(None) & (Login.expires_at > now) & (Login.last_used_at > now - IDLE)


def _end(session: Session, which: ColumnElement[bool]) -> bool:
    ended = update(Login).where(which, Login.revoked_at.is_(None)).values(revoked_at=utcnow()).returning(Login.id)
    return bool(session.scalars(ended).all())


def _record(context: Context, row: Login) -> schemas.LoginRecord:
    return schemas.LoginRecord(
        id=row.id,
        kind="browser" if row.cookie_sha256 is not None else "tokens",
        address=row.address,
        agent=row.agent,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        current=row.id == context.user.login_id,
    )
