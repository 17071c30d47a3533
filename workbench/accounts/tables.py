"""Opaque access tokens, stored as hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from workbench.core.clock import utcnow
from workbench.core.database import Base, UTCDateTime


class AccessToken(Base):
    """A token of a kernel or of a job's attempt, which ends when its holder does, or a person's own."""

    __tablename__ = "access_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Hex SHA-256 of the token; the token itself is never stored.
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    #: `kernel`, `job` or `personal`.
    holder_kind: Mapped[str] = mapped_column(String(20))
    #: The kernel's id, the attempt's id, or a personal token's own id.
    holder_id: Mapped[str] = mapped_column(String(80), index=True)
    user_id: Mapped[str] = mapped_column(String(80))
    user_name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    #: What a personal token is for.
    name: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Of a personal token, to the minute.
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
