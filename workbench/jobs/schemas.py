"""Jobs on the wire: records, queries and the messages of the live streams."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from workbench.core.schemas import PRIVATE, Audience, PageQuery, Schema, Time

Value = StrictBool | StrictInt | Annotated[StrictFloat, AllowInfNan(False)] | StrictStr | None
State = Literal["queued", "assigned", "running", "stopping", "lost", "succeeded", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


class Job(Schema):
    """One piece of queued work."""

    id: str
    kind: str
    title: str
    owner_name: str
    #: Who sees it, and what it made, beside its owner: `private`, `everyone`, or a team's id.
    audience: Audience = PRIVATE
    state: State
    #: Why a queued job waits, in words.
    wait_reason: str | None
    cancel_requested: bool
    attempt_no: int
    cpus: int
    gpus: int
    spec: dict[str, Any]
    #: Ids of what the job made, such as `model_version_id`.
    outcome: dict[str, Any] | None
    error_code: str | None
    error: str | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class JobsQuery(PageQuery):
    """Which jobs to list, newest first."""

    kind: str | None = None
    state: State | None = None


class QueuedJob(Schema):
    """A job that runs or waits."""

    #: Where it stands among everyone's waiting jobs, from 1; None for one that runs.
    place: int | None
    #: Whether the caller may change it, and so cancel it or let it start earlier or later.
    changeable: bool
    job: Job


class Reorder(Schema):
    """Which waiting job shall start when."""

    job_id: str
    before: str | None = Field(
        None, min_length=1, description="The waiting job that it shall start before; null: it starts last."
    )


class After(Schema):
    """Where to go on in a numbered stream."""

    after: int = Field(0, ge=0, le=2**63 - 1, description="the last sequence number that was received")


class MetricLine(BaseModel):
    """One line of a worker's metrics.jsonl; a later worker may write more fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seq: int
    step: int
    total_steps: int
    #: Unix seconds at which the trainer wrote the line.
    at: float
    values: dict[str, float]


class MetricMessage(MetricLine):
    """A metric line on the stream."""

    type: Literal["metric"] = "metric"
    attempt_no: int


class ResumedMessage(Schema):
    """An attempt continued from a checkpoint: points of earlier attempts beyond `step` no longer count."""

    type: Literal["resumed"] = "resumed"
    attempt_no: int
    step: int


class StateMessage(Schema):
    """The job has moved; always the first message, and the last one when the job ends while the stream is open."""

    type: Literal["state"] = "state"
    job: Job


Message = Annotated[MetricMessage | ResumedMessage | StateMessage, Field(discriminator="type")]


class MetricsPage(Schema):
    """The metrics that count, oldest first; at most `limit` lines."""

    items: list[MetricMessage]


class LogQuery(Schema):
    """Which bytes of the newest attempt's log."""

    offset: int = Field(
        0, ge=-(2**63), le=2**63 - 1, description="first byte; negative: that many bytes before the end"
    )
    limit: int = Field(65_536, ge=1, le=2**20, description="bytes at most")


class LogPage(Schema):
    """A piece of a log. Undecodable bytes are shown as replacement characters."""

    attempt_no: int
    offset: int
    #: Give it as the next `offset`.
    next_offset: int
    size_bytes: int
    text: str


class NotebookCreate(Schema):
    """A notebook to run as a job."""

    notebook: dict[str, Any] = Field(description="The notebook's JSON, at most 10 MB.")
    parameters: dict[str, Value] = Field(
        default_factory=dict, description="Values for names that the cell tagged `parameters` sets, of their types."
    )
    title: Annotated[str, Field(min_length=1, max_length=200)] = "Notebook"


class NotebookSpec(Schema):
    """What the notebook worker is told."""

    #: Relative to the home.
    notebook_path: str
    parameters: dict[str, Value]


class NotebookOutcome(Schema):
    """What became of a notebook."""

    #: The executed notebook, relative to the home.
    notebook_path: str
    notebook_sha256: str
    #: The JSON that its cell tagged `result` showed.
    result: Any
    seconds: float
