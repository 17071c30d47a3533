"""Accounts and personal access tokens on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workbench.core.schemas import Name, Schema, Time

MAX_DAYS = 3650


class Me(Schema):
    """The caller, as the server sees the credential that came with the request."""

    id: str
    name: str
    #: Sorted.
    permissions: list[str]


class TokenCreate(Schema):
    """A personal token to make."""

    name: Name = Field(description="What the token is for; shown in the list.")
    expires_in_days: int | None = Field(None, strict=True, ge=1, le=MAX_DAYS, description="None: it never expires.")


class Token(Schema):
    """A live personal token, without its secret."""

    id: str
    name: str
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
    #: `owner`: Jupyter's own token or password.
    holder: Literal["owner", "kernel", "job", "personal"]
    #: Id of a personal token; None for any other credential.
    token_id: str | None
