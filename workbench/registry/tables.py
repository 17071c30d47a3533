"""Models, model versions and the aliases that point at them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from workbench.core.clock import utcnow
from workbench.core.database import Base, JSONColumn, UTCDateTime
from workbench.core.ownership import Owned, Within


class Model(Owned, Base):
    """A named line of versions."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class ModelVersion(Within, Base):
    """One set of weights; only its notes ever change."""

    __tablename__ = "model_versions"
    within = ("model_id", Model)
    __table_args__ = (UniqueConstraint("model_id", "number"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(20))
    path: Mapped[str] = mapped_column(Text)
    #: Cheap hash of a base folder's configs, tokenizer and weight headers: the same folder is registered once.
    fingerprint: Mapped[str | None] = mapped_column(String(64), index=True)
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    author_id: Mapped[str] = mapped_column(String(80))
    author_name: Mapped[str] = mapped_column(String(200))
    record: Mapped[dict[str, Any]] = mapped_column(JSONColumn)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    #: What its config and weights say, as `ModelFacts`.
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONColumn)
    notes: Mapped[str] = mapped_column(Text, default="")


class ModelAlias(Within, Base):
    """A name that points at one version of a model."""

    __tablename__ = "model_aliases"
    within = ("model_id", Model)

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), index=True)
    set_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
