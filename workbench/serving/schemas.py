"""Deployments on the wire, and what the serve worker is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workbench.core.schemas import PageQuery, Schema, Time
from workbench.jobs.schemas import State

EngineName = Literal["llama.cpp", "transformers"]
Quantization = Literal["stored", "f32", "f16", "bf16", "q8_0", "q5_1", "q4_0"]
#: `waiting` and what comes before it is the queue's part, the rest is the worker's; the last three are ends.
Phase = Literal["waiting", "checking", "converting", "starting", "ready", "restarting", "stopping", "stopped", "failed"]
ENDED: frozenset[Phase] = frozenset({"stopped", "failed"})


class DeploymentCreate(Schema):
    """How to serve a model version."""

    engine: Literal["auto", "llama.cpp", "transformers"] = Field(
        "auto", description="auto: llama.cpp, or transformers where llama.cpp would answer otherwise."
    )
    quantization: Quantization = Field(
        "stored", description="How weights are kept by llama.cpp; stored: as the model brings them, unchanged."
    )
    context_length: int = Field(4096, ge=64, le=1_048_576, description="Tokens of a conversation at most.")
    parallel: int = Field(4, ge=1, le=64, description="Answers that are made at the same time.")
    ttl_seconds: int | None = Field(
        3600, ge=10, le=30 * 86_400, description="Stops after so long without a request; null: never."
    )
    threads: int = Field(1, ge=1, le=256, description="Threads that the engine computes with.")


class ServeSpec(Schema):
    """What the serve worker is told."""

    version_id: str
    model_name: str
    #: Absolute, or relative to the home.
    path: str
    #: None for a base that no run has read.
    weights_sha256: str | None
    deploy: DeploymentCreate


class Certificate(Schema):
    """What was compared before llama.cpp was trusted with a model's shape and tokenizer."""

    holds: bool
    #: Why it does not hold; None when it does.
    reason: str | None
    #: llama.cpp's name of the pre-tokenizer.
    pre_tokenizer: str | None
    #: Texts whose token ids were compared, and how many differed.
    strings: int
    strings_different: int
    #: Greedy continuations that were compared with transformers', and how many differed in any token.
    prompts: int
    prompts_different: int
    #: Largest difference of any next-token log-probability, in nats; None when it was not reached.
    max_logprob_difference: float | None


class Progress(Schema):
    """What the serve worker says about itself, in `deployment.json` of its attempt."""

    phase: Phase
    #: What it does or why it does it, in one sentence.
    detail: str | None = None
    #: Part of the present phase that is done; None where it cannot be told.
    fraction: float | None = Field(None, ge=0, le=1)
    engine: EngineName | None = None
    #: Why llama.cpp was not taken; None when it was, or was not wanted.
    fallback_reason: str | None = None
    certificate: Certificate | None = None
    #: How many tensors have each type, such as `{"F32": 5, "Q8_0": 14}`.
    tensor_types: dict[str, int] | None = None
    size_bytes: int | None = None
    #: Tokens of a conversation at most, prompt and answer together.
    context_length: int | None = None
    parallel: int | None = None
    #: Times that the engine was started again after it had died.
    restarts: int = 0
    ready_at: Time | None = None


class Deployment(Progress):
    """A model version that is served, or was."""

    id: str
    version_id: str
    #: Give it as `model` in a chat: the model's name and the version's number, such as `support@3`.
    model: str
    spec: DeploymentCreate
    owner_name: str
    job_state: State
    error: str | None
    error_code: str | None
    created_at: Time
    finished_at: Time | None


class DeploymentsQuery(PageQuery):
    """Which deployments to list, newest first."""

    live: bool = Field(False, description="Only those that have not ended.")
