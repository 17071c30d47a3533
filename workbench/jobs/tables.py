"""Jobs, their attempts, the hosts that run them, and their metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from workbench.core.clock import utcnow
from workbench.core.database import Base, JSONColumn, UTCDateTime
from workbench.core.ownership import Owned, Within


class Job(Owned, Base):
    """One piece of queued work. `jobs` knows its kind only by name."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(200))
    owner_id: Mapped[str] = mapped_column(String(80), index=True)
    owner_name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]] = mapped_column(JSONColumn)
    cpus: Mapped[int] = mapped_column(Integer)
    gpus: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(20), index=True, default="queued")
    #: Its place in the queue: the smallest starts first, equal ones in the order of their ids.
    rank: Mapped[int] = mapped_column(BigInteger, index=True, default=0, server_default="0")
    #: Cancelling sets the wish, never the state of a live job.
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    #: The attempt in progress or last made; 0 before the first.
    attempt_no: Mapped[int] = mapped_column(Integer, default=0)
    wait_reason: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(String(80))
    error: Mapped[str | None] = mapped_column(Text)
    #: What the kind's finisher published: ids of the things that the job made.
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONColumn)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


#: The columns of everyone's jobs: queries of them are not narrowed to what a caller sees.
EVERYONES = Job.__table__.c


class Attempt(Within, Base):
    """One try at a job on one host."""

    __tablename__ = "job_attempts"
    within = ("job_id", Job)
    __table_args__ = (UniqueConstraint("job_id", "no"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    no: Mapped[int] = mapped_column(Integer)
    host_id: Mapped[str] = mapped_column(String(80))
    #: Sequence number of the last metric of earlier attempts.
    first_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    resumed_from_step: Mapped[int | None] = mapped_column(Integer)
    #: Bytes of metrics.jsonl that the metrics table holds.
    metrics_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class Host(Base):
    """A machine whose agent has said that it is there."""

    __tablename__ = "hosts"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    cpus: Mapped[int] = mapped_column(Integer)
    gpus: Mapped[int] = mapped_column(Integer)
    version: Mapped[str] = mapped_column(String(40))
    heartbeat_at: Mapped[datetime] = mapped_column(UTCDateTime)


class Metric(Within, Base):
    """One line of a job's metrics, numbered through all its attempts."""

    __tablename__ = "metrics"
    within = ("job_id", Job)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt_no: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    total_steps: Mapped[int] = mapped_column(Integer)
    #: Unix seconds at which the trainer wrote the line.
    at: Mapped[float] = mapped_column(Float(53))
    values: Mapped[dict[str, float]] = mapped_column(JSONColumn)
