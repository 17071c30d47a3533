"""The one source of wall-clock time."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the present as an aware UTC datetime."""
    return datetime.now(UTC)
