"""Models on the wire."""

from __future__ import annotations

from typing import Any, Literal

from workbench.core.schemas import Edge, Schema, Time


class ModelVersion(Schema):
    """One immutable set of weights, with what it was made from."""

    id: str
    model_id: str
    model_name: str
    number: int
    #: `base`: brought from a folder or the hub cache; `tuned`: made by a run.
    kind: Literal["base", "tuned"]
    #: Folder with config, safetensors and tokenizer; relative to the home for what the workbench made.
    path: str
    #: Hash over the tensors' names, types, shapes and bytes; None until a run has read the base.
    weights_sha256: str | None
    #: The version that training began from.
    parent_id: str | None
    #: The run that made it.
    job_id: str | None
    author_name: str
    created_at: Time
    #: The resolved training spec, the chat template and the environment; empty for a base.
    record: dict[str, Any]


class Model(Schema):
    """A named line of model versions."""

    id: str
    name: str
    created_at: Time
    versions: list[ModelVersion]


class Lineage(Schema):
    """Everything a thing came from, and everything that came from it."""

    edges: list[Edge]
