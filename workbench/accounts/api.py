"""Binds the contract of accounts to its services."""

from __future__ import annotations

from workbench.accounts import admin as admins
from workbench.accounts import audit as log
from workbench.accounts import authentication, registration, routes, service
from workbench.accounts import logins as sessions
from workbench.accounts.schemas import (
    Accepted,
    Address,
    AuditQuery,
    AuditRecord,
    AuditVerdict,
    Code,
    Credential,
    InvitationCreate,
    Invitations,
    LoginCreate,
    Logins,
    Me,
    MeUpdate,
    NewInvitation,
    NewToken,
    PasswordChange,
    PasswordReset,
    RefreshCreate,
    Registration,
    Team,
    TeamCreate,
    TeamMembers,
    Teams,
    Ticket,
    TokenCreate,
    TokenPair,
    Tokens,
    User,
    UsersQuery,
    UserUpdate,
)
from workbench.core.context import Context, StreamContext
from workbench.core.schemas import Page


@routes.register.handler
async def register(context: StreamContext, body: Registration) -> Accepted:
    """Make an account, whose address must be verified by the link of a mail."""
    return await registration.register(context, body)


@routes.verify.handler
def verify(context: Context, body: Code) -> Accepted:
    """Verify an address with the code of a mail's link."""
    return registration.verify(context, body.code)


@routes.resend.handler
def resend(context: Context, body: Address) -> Accepted:
    """Mail the verification link once more."""
    return registration.resend(context, body.email)


@routes.forgot.handler
def forgot(context: Context, body: Address) -> Accepted:
    """Mail a link with which a new password can be set."""
    return registration.forgot(context, body.email)


@routes.reset.handler
async def reset(context: StreamContext, body: PasswordReset) -> Accepted:
    """Set a new password with the code of a mail's link; every earlier credential ends."""
    return await registration.reset(context, body)


@routes.login.handler
async def login(context: StreamContext, body: LoginCreate) -> TokenPair:
    """Log in a program; browsers log in by the page."""
    return await authentication.log_in_for_tokens(context, body)


@routes.refresh.handler
async def refresh(context: StreamContext, body: RefreshCreate) -> TokenPair:
    """Exchange a refresh token for the next pair; one that comes again later ends its login."""
    return await authentication.refresh(context, body.refresh_token)


@routes.me.handler
def me(context: Context) -> Me:
    """Show who the caller is, and what their credential allows."""
    return service.me(context)


@routes.update_me.handler
def update_me(context: Context, body: MeUpdate) -> Me:
    """Change one's own profile."""
    registration.update_me(context, body)
    return service.me(context).model_copy(update={"name": body.name.strip()})


@routes.change_password.handler
async def change_password(context: StreamContext, body: PasswordChange) -> Accepted:
    """Change one's password; every earlier credential ends, this one too."""
    return await registration.change_password(context, body)


@routes.logins.handler
def logins(context: Context) -> Logins:
    """List one's logins."""
    return sessions.listing(context)


@routes.end_login.handler
def end_login(context: Context, login_id: str) -> None:
    """End one of one's logins."""
    sessions.end(context, login_id)


@routes.end_logins.handler
def end_logins(context: Context) -> None:
    """End all of one's logins."""
    sessions.end_all(context.session, context.user.id)


@routes.logout.handler
def logout(context: Context) -> Accepted:
    """End the login that the request came with."""
    if context.user.login_id is not None:
        sessions.end(context, context.user.login_id)
    return Accepted(message="You are logged out.")


@routes.ticket.handler
def ticket(context: Context) -> Ticket:
    """Make a ticket that opens one WebSocket within 30 seconds."""
    return service.ticket(context)


@routes.create.handler
def create(context: Context, body: TokenCreate) -> NewToken:
    """Make a personal token; its secret is shown in this answer only."""
    return service.create(context, body)


@routes.listing.handler
def listing(context: Context) -> Tokens:
    """List the caller's live personal tokens."""
    return service.listing(context)


@routes.revoke.handler
def revoke(context: Context, token_id: str) -> None:
    """End one of the caller's personal tokens."""
    service.end(context, token_id)


@routes.current.handler
def current(context: Context) -> Credential:
    """Tell what the request came with."""
    return service.credential(context.user)


@routes.end_current.handler
def end_current(context: Context) -> None:
    """End the personal token that the request came with."""
    service.end_own(context)


@routes.teams.handler
def teams(context: Context) -> Teams:
    """List one's teams; who manages accounts sees all."""
    return service.teams(context)


@routes.create_team.handler
def create_team(context: Context, body: TeamCreate) -> Team:
    """Make a team."""
    return admins.create_team(context, body)


@routes.set_members.handler
def set_members(context: Context, team_id: str, body: TeamMembers) -> Team:
    """Let exactly these people be a team's members."""
    return admins.set_members(context, team_id, body)


@routes.delete_team.handler
def delete_team(context: Context, team_id: str) -> None:
    """Delete a team; what was shared with it is its owners' alone again."""
    admins.delete_team(context, team_id)


@routes.users.handler
def users(context: Context, query: UsersQuery) -> Page[User]:
    """List accounts, newest first."""
    return admins.users(context, query)


@routes.user.handler
def user(context: Context, user_id: str) -> User:
    """Show one account."""
    return admins.user(context, user_id)


@routes.update_user.handler
def update_user(context: Context, user_id: str, body: UserUpdate) -> User:
    """Change an account's role, or disable it, which ends all its credentials."""
    return admins.update_user(context, user_id, body)


@routes.invite.handler
def invite(context: Context, body: InvitationCreate) -> NewInvitation:
    """Make an invitation; its code is shown in this answer only."""
    return admins.invite(context, body)


@routes.invitations.handler
def invitations(context: Context) -> Invitations:
    """List open invitations."""
    return admins.invitations(context)


@routes.withdraw.handler
def withdraw(context: Context, invitation_id: str) -> None:
    """Take an open invitation back."""
    admins.withdraw(context, invitation_id)


@routes.audit.handler
def audit(context: Context, query: AuditQuery) -> Page[AuditRecord]:
    """List the audit log, newest first."""
    return log.listing(context.session, query)


@routes.verify_audit.handler
def verify_audit(context: Context) -> AuditVerdict:
    """Follow the audit log's chain of hashes."""
    return log.verify(context.session)
