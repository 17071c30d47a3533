"""The contract of accounts."""

from __future__ import annotations

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
from workbench.core.routes import ANYONE, delete, get, patch, post, put
from workbench.core.schemas import Page

# No route of this slice is idempotent: a remembered answer would keep its secret.
register = post("/api/auth/register", permission=ANYONE, body=Registration, returns=Accepted, status=202)
verify = post("/api/auth/verify", permission=ANYONE, body=Code, returns=Accepted)
resend = post("/api/auth/verify/resend", permission=ANYONE, body=Address, returns=Accepted, status=202)
forgot = post("/api/auth/password/forgot", permission=ANYONE, body=Address, returns=Accepted, status=202)
reset = post("/api/auth/password/reset", permission=ANYONE, body=PasswordReset, returns=Accepted)
login = post("/api/auth/login", permission=ANYONE, body=LoginCreate, returns=TokenPair)
refresh = post("/api/auth/refresh", permission=ANYONE, body=RefreshCreate, returns=TokenPair)

me = get("/api/auth/me", permission=None, returns=Me)
update_me = put("/api/auth/me", permission="account:write", returns=Me, body=MeUpdate)
change_password = put("/api/auth/password", permission="account:write", returns=Accepted, body=PasswordChange)
logins = get("/api/auth/logins", permission="account:write", returns=Logins)
end_login = delete("/api/auth/logins/{login_id}", permission="account:write")
end_logins = delete("/api/auth/logins", permission="account:write")
logout = post("/api/auth/logout", permission="account:write", returns=Accepted)
ticket = post("/api/auth/tickets", permission=None, returns=Ticket, status=201)

create = post("/api/auth/tokens", permission="tokens:write", body=TokenCreate, returns=NewToken, status=201)
listing = get("/api/auth/tokens", permission="tokens:write", returns=Tokens)
revoke = delete("/api/auth/tokens/{token_id}", permission="tokens:write")
current = get("/api/auth/token", permission=None, returns=Credential)
end_current = delete("/api/auth/token", permission=None)

teams = get("/api/auth/teams", permission=None, returns=Teams)
create_team = post("/api/auth/teams", permission="users:manage", body=TeamCreate, returns=Team, status=201)
set_members = put("/api/auth/teams/{team_id}/members", permission="users:manage", body=TeamMembers, returns=Team)
delete_team = delete("/api/auth/teams/{team_id}", permission="users:manage")

users = get("/api/auth/users", permission="users:manage", query=UsersQuery, returns=Page[User])
user = get("/api/auth/users/{user_id}", permission="users:manage", returns=User)
update_user = patch("/api/auth/users/{user_id}", permission="users:manage", body=UserUpdate, returns=User)
invite = post(
    "/api/auth/invitations", permission="users:manage", body=InvitationCreate, returns=NewInvitation, status=201
)
invitations = get("/api/auth/invitations", permission="users:manage", returns=Invitations)
withdraw = delete("/api/auth/invitations/{invitation_id}", permission="users:manage")
audit = get("/api/auth/audit", permission="audit:read", query=AuditQuery, returns=Page[AuditRecord])
verify_audit = get("/api/auth/audit/verify", permission="audit:read", returns=AuditVerdict)
