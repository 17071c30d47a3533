"""Personal tokens as a researcher holds them in a notebook."""

from __future__ import annotations

import builtins

from workbench.accounts import routes
from workbench.accounts.schemas import NewToken, Token, TokenCreate
from workbench.core.http import HTTP


class Tokens:
    """`wb.tokens`: the caller's personal tokens. A kernel's own token may not make any: it ends with its kernel."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def create(
        self, name: str, *, expires_in_days: int | None = None, permissions: builtins.list[str] | None = None
    ) -> NewToken:
        """Make a token and return it; its `token` is shown this once. `permissions` says what it may do at most."""
        body = TokenCreate(name=name, expires_in_days=expires_in_days, permissions=permissions)
        return self._http.call(routes.create, body=body)

    def list(self) -> builtins.list[Token]:
        """Return the live tokens, newest first."""
        return self._http.call(routes.listing).items

    def revoke(self, token_id: str) -> None:
        """End a token at once."""
        self._http.call(routes.revoke, token_id=token_id)
