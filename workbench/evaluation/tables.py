"""Finished evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from workbench.core.clock import utcnow
from workbench.core.database import Base, JSONColumn, UTCDateTime
from workbench.core.ownership import Within
from workbench.jobs.tables import Job


class Evaluation(Within, Base):
    """Scores of one or two models on the same rows; the per-row records are files."""

    __tablename__ = "evaluations"
    within = ("job_id", Job)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    dataset_version_id: Mapped[str] = mapped_column(ForeignKey("dataset_versions.id"))
    split: Mapped[str] = mapped_column(String(20))
    settings: Mapped[dict[str, Any]] = mapped_column(JSONColumn)
    scores: Mapped[list[dict[str, Any]]] = mapped_column(JSONColumn)
    comparison: Mapped[dict[str, Any] | None] = mapped_column(JSONColumn)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
