"""Accounts, logins, tokens, teams and the audit log on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from workbench.accounts.roles import PERMISSIONS, Role
from workbench.core.schemas import Name, PageQuery, Schema, Time

MAX_DAYS = 3650
MAX_PASSWORD = 256  # characters; more would only cost time
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f<>,;:\\\"]+@[^@\s\x00-\x1f\x7f<>,;:\\\"]+$")]
PersonName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\s\x00-\x1f\x7f<>][^\x00-\x1f\x7f<>]*$")]
Password = Annotated[SecretStr, Field(max_length=MAX_PASSWORD)]
NewPassword = Annotated[SecretStr, Field(min_length=10, max_length=MAX_PASSWORD, description="10 characters or more.")]
Secret = Annotated[str, Field(min_length=1, max_length=512)]
Holder = Literal["owner", "person", "kernel", "job", "dashboard", "personal"]


class TeamRef(Schema):
    """A team by its id and name."""

    id: str
    name: str


class Me(Schema):
    """The caller, as the server sees the credential that came with the request."""

    id: str
    name: str
    #: None for the server's owner, who has no account.
    email: str | None = None
    role: Role = "admin"
    teams: list[TeamRef] = Field(default_factory=list)
    #: Sorted: what this very credential allows.
    permissions: list[str]


class MeUpdate(Schema):
    """What people may change of their own account."""

    name: PersonName


class Registration(Schema):
    """A wish for an account."""

    email: Email
    name: PersonName
    password: NewPassword
    invitation: Secret | None = Field(None, description="The code of an invitation's link.")


class Accepted(Schema):
    """What happens next; the same for known and unknown addresses."""

    message: str


class Address(Schema):
    """A mail address."""

    email: Email


class Code(Schema):
    """The code of a mail's link."""

    code: Secret


class PasswordReset(Schema):
    """A new password, with the code of a mail's link."""

    code: Secret
    password: NewPassword


class PasswordChange(Schema):
    """A new password, with the present one."""

    current: Password
    password: NewPassword


class LoginCreate(Schema):
    """Who logs in."""

    email: Email
    password: Password


class RefreshCreate(Schema):
    """A refresh token to exchange."""

    refresh_token: Secret


class TokenPair(Schema):
    """A new access token, and the refresh token that gets the next one; each refresh token is used once."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a kind, not a secret
    expires_in_seconds: int


class LoginRecord(Schema):
    """A login that still holds."""

    id: str
    kind: Literal["browser", "tokens"]
    address: str
    agent: str
    created_at: Time
    last_used_at: Time
    #: Whether this request came with it.
    current: bool


class Logins(Schema):
    """One's logins, newest first."""

    items: list[LoginRecord]


class Ticket(Schema):
    """Opens one WebSocket, as `?ticket=…`, within its short life."""

    ticket: str = Field(repr=False)
    expires_in_seconds: int


class TokenCreate(Schema):
    """A personal token to make."""

    name: Name = Field(description="What the token is for; shown in the list.")
    expires_in_days: int | None = Field(None, strict=True, ge=1, le=MAX_DAYS, description="None: it never expires.")
    permissions: list[str] | None = Field(
        None, min_length=1, max_length=len(PERMISSIONS), description="What it may do; None: all that a program may."
    )


class Token(Schema):
    """A live personal token, without its secret."""

    id: str
    name: str
    #: None: all that a program of its owner may.
    permissions: list[str] | None
    created_at: Time
    expires_at: Time | None
    #: To the minute; None: never.
    last_used_at: Time | None


class NewToken(Token):
    """A token that was just made: the only time that its secret is shown."""

    token: str = Field(repr=False)


class Tokens(Schema):
    """The caller's live personal tokens, newest first."""

    items: list[Token]


class Credential(Schema):
    """What a request came with."""

    user_name: str
    permissions: list[str]
    #: `owner`: Jupyter's own token or password; `person`: a login.
    holder: Holder
    #: Id of a personal token; None for any other credential.
    token_id: str | None


class UsersQuery(PageQuery):
    """Which accounts to list."""

    search: str | None = Field(None, max_length=128, description="Part of the address or name.")


class User(Schema):
    """An account, as an admin sees it."""

    id: str
    email: str
    name: str
    role: Role
    teams: list[TeamRef]
    created_at: Time
    verified_at: Time | None
    disabled_at: Time | None
    last_login_at: Time | None


class UserUpdate(Schema):
    """What an admin changes of an account; what is left out stays."""

    role: Role | None = None
    disabled: bool | None = Field(None, strict=True)


class InvitationCreate(Schema):
    """An invitation to make an account."""

    role: Role = "researcher"
    email: Email | None = Field(None, description="Only this address may use it; it gets the link by mail.")
    expires_in_days: int = Field(7, strict=True, ge=1, le=90)


class Invitation(Schema):
    """An open invitation."""

    id: str
    role: Role
    email: str | None
    created_at: Time
    expires_at: Time


class NewInvitation(Invitation):
    """An invitation that was just made: the only time that its code is shown."""

    code: str = Field(repr=False)
    #: Where it is used, below the server's base URL.
    path: str = Field(repr=False)


class Invitations(Schema):
    """Open invitations, newest first."""

    items: list[Invitation]


class TeamCreate(Schema):
    """A team to make."""

    name: Name


class TeamMembers(Schema):
    """Who is in a team."""

    user_ids: list[str] = Field(max_length=1000)


class Team(TeamRef):
    """A team and its members."""

    members: list[TeamRef] = Field(description="Ids and names of people.")


class Teams(Schema):
    """The teams that the caller may see."""

    items: list[Team]


class AuditQuery(PageQuery):
    """Which entries of the audit log to list."""

    cursor: str | None = Field(None, pattern=r"^[0-9]{1,18}$")
    actor_id: str | None = Field(None, max_length=80)
    action: str | None = Field(None, max_length=80)


class AuditRecord(Schema):
    """Who did what to which thing."""

    seq: int
    at: Time
    actor_id: str
    actor_name: str
    holder: str
    address: str
    action: str
    object: str
    details: dict[str, Any]
    hash: str


class AuditVerdict(Schema):
    """Whether the audit log's chain holds."""

    holds: bool
    #: How many entries were followed, up to the broken one.
    entries: int
    #: Hash of the last good entry: to remember elsewhere, as only that shows when the end was cut off.
    head: str
    broken_at: int | None
