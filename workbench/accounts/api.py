"""Binds the contract of accounts to its service."""

from __future__ import annotations

from workbench.accounts import routes
from workbench.accounts.schemas import Me
from workbench.core.context import Context


@routes.me.handler
def me(context: Context) -> Me:
    """Show who the caller is, and what their credential allows."""
    return Me(id=context.user.id, name=context.user.name, permissions=sorted(context.user.permissions))
