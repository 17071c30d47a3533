"""Binds the contract of accounts to its service."""

from __future__ import annotations

from workbench.accounts import routes, service
from workbench.accounts.schemas import Credential, Me, NewToken, TokenCreate, Tokens
from workbench.core.context import Context


@routes.me.handler
def me(context: Context) -> Me:
    """Show who the caller is, and what their credential allows."""
    return Me(id=context.user.id, name=context.user.name, permissions=sorted(context.user.permissions))


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
