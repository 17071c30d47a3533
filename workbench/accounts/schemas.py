"""Accounts on the wire."""

from __future__ import annotations

from workbench.core.schemas import Schema


class Me(Schema):
    """The caller, as the server sees the credential that came with the request."""

    id: str
    name: str
    #: Sorted.
    permissions: list[str]
