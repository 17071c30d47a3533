"""Models on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.core.schemas import PRIVATE, Audience, Schema, Time

#: A name that points at one version of a model, such as `champion`; it begins with a letter, unlike a version's number.
Alias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\W\d][\w.\-]*$")]


class ModelFacts(Schema):
    """What a model is, as its config and weights say; None where they do not."""

    #: The config's model type, such as `qwen3`.
    architecture: str | None
    #: Number of weights.
    parameters: int
    size_bytes: int
    #: The type of most weights, by safetensors' name.
    dtype: str
    #: Tokens.
    context_length: int | None
    layers: int | None
    hidden_size: int | None
    #: In words, such as `grouped-query, 16 heads over 8`.
    attention: str | None
    #: Routed experts of a layer; None for a dense model.
    experts: int | None
    vocabulary: int | None
    tied_embeddings: bool
    #: As the model card names it.
    licence: str | None
    #: The file that holds the chat template; None when the model brings none.
    template: str | None


class ModelVersion(Schema):
    """One immutable set of weights, with what it was made from; its notes and aliases may change."""

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
    #: None for a version whose folder is not there any more.
    facts: ModelFacts | None
    notes: str
    #: Names that point at this version, sorted.
    aliases: list[str]


class VersionUpdate(Schema):
    """New notes or aliases; what is left out stays. An alias that another version of the model had moves here."""

    notes: Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")] | None = None
    aliases: list[Alias] | None = Field(None, max_length=20)


class ModelCreate(Schema):
    """A base model to register."""

    base: str = Field(min_length=1, description="A folder on the server, or a model in its Hugging Face cache.")


class Model(Schema):
    """A named line of model versions."""

    id: str
    name: str
    #: Who sees it beside its owner: `private`, `everyone`, or a team's id.
    audience: Audience = PRIVATE
    created_at: Time
    #: Newest first.
    versions: list[ModelVersion]
