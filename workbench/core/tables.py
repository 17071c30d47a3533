"""Tables that belong to no slice: the event feed, lineage edges and remembered answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from workbench.core.clock import utcnow
from workbench.core.database import Base, JSONColumn, UTCDateTime

Sequence = BigInteger().with_variant(Integer, "sqlite")


class Event(Base):
    """One entry of the append-only feed; `seq` grows in the order of commits."""

    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    topic: Mapped[str] = mapped_column(String(80), index=True)
    type: Mapped[str] = mapped_column(String(40))
    data: Mapped[dict[str, Any]] = mapped_column(JSONColumn)


class LineageEdge(Base):
    """`source` went into `target`."""

    __tablename__ = "lineage_edges"
    __table_args__ = (
        UniqueConstraint(
            "source_kind", "source_id", "target_kind", "target_id", "relation", name="uq_lineage_edges_edge"
        ),
    )

    id: Mapped[int] = mapped_column(Sequence, primary_key=True)
    source_kind: Mapped[str] = mapped_column(String(40))
    source_id: Mapped[str] = mapped_column(String(80), index=True)
    target_kind: Mapped[str] = mapped_column(String(40))
    target_id: Mapped[str] = mapped_column(String(80), index=True)
    relation: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class IdempotencyKey(Base):
    """The answer a caller got for an `Idempotency-Key`, written in the transaction of the work itself."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    answer: Mapped[Any] = mapped_column(JSONColumn)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
