"""What admins do: accounts, roles, invitations and teams. Never commits."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from workbench.accounts import logins, mail, once, people, registration, schemas
from workbench.accounts.service import team_record
from workbench.accounts.tables import OnceToken, Team, TeamMember, User
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import Conflict, NotFound
from workbench.core.ids import new_id
from workbench.core.schemas import Page
from workbench.core.texts import text

ESCAPE = "\\"


class UserNotFound(NotFound):
    """There is no such account."""

    code = "user.not_found"


class LastAdmin(Conflict):
    """An admin must stay."""

    code = "user.last_admin"


class InvitationNotFound(NotFound):
    """There is no such invitation."""

    code = "invitation.not_found"


class TeamNotFound(NotFound):
    """There is no such team."""

    code = "team.not_found"


class TeamExists(Conflict):
    """A team has this name already."""

    code = "team.name_taken"


def users(context: Context, query: schemas.UsersQuery) -> Page[schemas.User]:
    """Return accounts, newest first; ids are time-ordered, so the cursor is the last id."""
    statement = select(User).order_by(User.id.desc()).limit(query.limit + 1)
    if query.search:
        part = query.search.casefold().replace(ESCAPE, ESCAPE * 2).replace("%", ESCAPE + "%").replace("_", ESCAPE + "_")
        like = f"%{part}%"
        statement = statement.where(
            or_(User.email_norm.like(like, escape=ESCAPE), func.lower(User.name).like(like, escape=ESCAPE))
        )
    if query.cursor is not None:
        statement = statement.where(User.id < query.cursor)
    rows = context.session.scalars(statement).all()
    items = [_record(context.session, row) for row in rows[: query.limit]]
    return Page(items=items, next_cursor=items[-1].id if len(rows) > query.limit else None)


def user(context: Context, user_id: str) -> schemas.User:
    """Return one account."""
    return _record(context.session, _find(context.session, user_id))


def update_user(context: Context, user_id: str, change: schemas.UserUpdate) -> schemas.User:
    """Change an account's role, or disable it, which ends all its credentials."""
    row = _find(context.session, user_id)
    ends = change.disabled or (change.role is not None and change.role != "admin")
    if ends and row.role == "admin" and row.disabled_at is None:
        _keep_an_admin(context.session, row)
    if change.role is not None and change.role != row.role:
        context.noted["role"] = {"from": row.role, "to": change.role}
        row.role = change.role
        once.withdraw(context.session, "invite", row.id)
    if change.disabled is not None and change.disabled != (row.disabled_at is not None):
        context.noted["disabled"] = change.disabled
        row.disabled_at = utcnow() if change.disabled else None
        logins.end_everything(context.session, row)
        once.withdraw(context.session, "invite", row.id)
    context.session.flush()
    return _record(context.session, row)


def invite(context: Context, wanted: schemas.InvitationCreate) -> schemas.NewInvitation:
    """Make an invitation, and mail it when it is for an address."""
    email = people.normal(wanted.email) if wanted.email is not None else None
    lifetime = timedelta(days=wanted.expires_in_days)
    row, code = once.issue(context.session, "invite", context.user.id, lifetime, role=wanted.role, email=email)
    path = f"workbench/register?invitation={code}"
    context.noted["role"] = wanted.role
    if wanted.email is not None:
        link = f"{context.request.base_url.rstrip('/')}/{path}"
        language = context.request.language
        body = text("mail.invite_body", language, name=context.user.name, link=link)
        mail.enqueue(context.session, wanted.email, text("mail.invite_subject", language), body)
    return schemas.NewInvitation(**_invitation(row).model_dump(), code=code, path=path)


def invitations(context: Context) -> schemas.Invitations:
    """Return the open invitations, newest first."""
    return schemas.Invitations(items=[_invitation(row) for row in registration.open_invitations(context.session)])


def withdraw(context: Context, invitation_id: str) -> None:
    """Take an open invitation back."""
    mine = update(OnceToken).where(
        OnceToken.id == invitation_id, OnceToken.purpose == "invite", OnceToken.used_at.is_(None)
    )
    if context.session.scalar(mine.values(used_at=utcnow()).returning(OnceToken.id)) is None:
        raise InvitationNotFound("There is no open invitation with this id.")


def create_team(context: Context, wanted: schemas.TeamCreate) -> schemas.Team:
    """Make a team without members."""
    if context.session.scalar(select(Team.id).where(Team.name == wanted.name)) is not None:
        raise TeamExists(f"There is a team {wanted.name} already; choose another name.")
    team = Team(id=new_id("team"), name=wanted.name, created_at=utcnow())
    context.session.add(team)
    context.session.flush()
    return team_record(context.session, team)


def set_members(context: Context, team_id: str, wanted: schemas.TeamMembers) -> schemas.Team:
    """Let exactly these people be a team's members."""
    session, team = context.session, _team(context.session, team_id)
    session.refresh(team, with_for_update=True)  # one change of a team at a time
    chosen = sorted(set(wanted.user_ids))
    for user_id in chosen:
        _find(session, user_id)
    session.execute(delete(TeamMember).where(TeamMember.team_id == team.id))
    session.add_all(TeamMember(team_id=team.id, user_id=user_id) for user_id in chosen)
    session.flush()
    context.noted["members"] = len(chosen)
    return team_record(session, team)


def delete_team(context: Context, team_id: str) -> None:
    """Delete a team; what was shared with it is seen by its owner alone again."""
    team = _team(context.session, team_id)
    context.session.execute(delete(TeamMember).where(TeamMember.team_id == team.id))
    context.session.delete(team)


def _find(session: Session, user_id: str) -> User:
    row = session.get(User, user_id)
    if row is None:
        raise UserNotFound(f"There is no account {user_id[:64]}.")
    return row


def _team(session: Session, team_id: str) -> Team:
    row = session.get(Team, team_id)
    if row is None:
        raise TeamNotFound(f"There is no team {team_id[:64]}.")
    return row


def _keep_an_admin(session: Session, row: User) -> None:
    active = (User.role == "admin") & User.disabled_at.is_(None) & User.verified_at.is_not(None)
    # locked in one order: two admins who remove each other at once leave one
    admins = session.scalars(select(User.id).where(active).order_by(User.id).with_for_update()).all()
    if not set(admins) - {row.id}:
        raise LastAdmin(f"{row.email} is the last admin; make another one first.")


def _record(session: Session, row: User) -> schemas.User:
    own = {name: getattr(row, name) for name in schemas.User.model_fields.keys() - {"teams"}}
    joined = select(Team).join(TeamMember, TeamMember.team_id == Team.id).where(TeamMember.user_id == row.id)
    teams = [{"id": team.id, "name": team.name} for team in session.scalars(joined.order_by(Team.name))]
    return schemas.User.model_validate({**own, "teams": teams})


def _invitation(row: OnceToken) -> schemas.Invitation:
    return schemas.Invitation(
        id=row.id, role=row.data["role"], email=row.data["email"], created_at=row.created_at, expires_at=row.expires_at
    )
