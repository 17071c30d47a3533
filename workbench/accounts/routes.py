"""The contract of accounts."""

from __future__ import annotations

from workbench.accounts.schemas import Credential, Me, NewToken, TokenCreate, Tokens
from workbench.core.routes import delete, get, post

me = get("/api/auth/me", permission=None, returns=Me)
# Never idempotent: a remembered answer would keep the secret.
create = post("/api/auth/tokens", permission="tokens:write", body=TokenCreate, returns=NewToken, status=201)
listing = get("/api/auth/tokens", permission="tokens:write", returns=Tokens)
revoke = delete("/api/auth/tokens/{token_id}", permission="tokens:write")
current = get("/api/auth/token", permission="jobs:read", returns=Credential)
end_current = delete("/api/auth/token", permission="jobs:read")
