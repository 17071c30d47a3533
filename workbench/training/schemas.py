"""What a training run is told. Every number is checked here: TRL's own configuration accepts almost anything."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from workbench.core.schemas import Schema
from workbench.datasets.schemas import DataRef, SplitRef

DEFAULT_EPOCHS = 3
FULL_LEARNING_RATE = 2e-5
LORA_LEARNING_RATE = 2e-4
MICRO_BATCH_LIMIT = 8  # rows a device takes at once unless told otherwise

Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class LoraSpec(Schema):
    """A low-rank adapter (Hu et al., 2021)."""

    r: Annotated[Count, Field(le=1024)] = Field(16, description="Rank of the adapter matrices; more can learn more.")
    alpha: Annotated[Number, Field(gt=0)] = Field(32.0, description="Scale of the adapter; its effect is alpha / r.")
    dropout: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.05, description="Share of the adapter's inputs dropped at random."
    )
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear",
        description="Which layers get an adapter: all linear ones but the head, or a list of module names.",
    )


class TrainingSpec(Schema):
    """A fine-tuning run as a researcher asks for it; what is left out is filled in by `resolved`."""

    base: str = Field(description="The model to start from: a model version's id or a base model's name.")
    data: SplitRef = Field(description="The rows to train on: one side of a dataset version.")
    method: Literal["sft"] = Field("sft", description="Supervised fine-tuning; the loss is on the completions only.")
    adapter: Literal["lora"] | None = Field(None, description="lora trains a small adapter; none trains all weights.")
    lora: LoraSpec | None = Field(None, description="The adapter's shape; only together with adapter = lora.")
    epochs: Count | None = Field(None, description="Passes over the rows; 3 unless max_steps is given.")
    max_steps: Count | None = Field(None, description="Optimizer steps; instead of epochs.")
    learning_rate: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None, description="Peak learning rate; 2e-5 for all weights, 2e-4 for an adapter."
    )
    scheduler: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning rate after the warmup.")
    warmup_steps: Annotated[int, Field(strict=True, ge=0)] = Field(
        0, description="Steps over which the learning rate rises."
    )
    weight_decay: Annotated[Number, Field(ge=0, le=1)] = Field(0.0, description="AdamW's decoupled weight decay.")
    adam_beta2: Annotated[Number, Field(gt=0, lt=1)] = Field(
        0.999, description="AdamW's second decay rate; .95-.98 for short runs."
    )
    max_grad_norm: Annotated[Number, Field(ge=0)] = Field(
        1.0, description="Gradients are clipped to this norm; 0 never clips."
    )
    batch_size: Count = Field(16, description="Rows of one optimizer step, over all processes.")
    micro_batch_size: Count | None = Field(
        None,
        description="Rows that a device takes at once; the rest of the batch is accumulated. At most 8 unless given.",
    )
    max_length: Annotated[Count, Field(ge=8)] = Field(
        1024, description="Tokens of a row; what is longer is cut at the end."
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = Field(
        0, description="Seed of shuffling, dropout and adapters."
    )
    logging_steps: Count = Field(5, description="Steps between two points of the chart.")
    save_steps: Count = Field(100, description="Steps between two checkpoints.")
    processes: Annotated[Count, Field(le=1024)] = Field(1, description="Processes (one per GPU) that share the batch.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision; auto is float32 on a CPU and mixed bfloat16 on a GPU."
    )
    gradient_checkpointing: bool = Field(
        False, strict=True, description="Trade time for memory: recompute activations."
    )
    cpu_threads: Annotated[Count, Field(le=256)] = Field(
        1, description="CPU threads of a process; part of exact repetition."
    )

    evaluate: bool = Field(True, strict=True, description="Compare with the base on the held-out rows afterwards.")

    @field_validator("base")
    @classmethod
    def _named(cls, base: str) -> str:
        if not base.strip():
            raise ValueError("name a base model: a folder on the server, a model in the hub cache, or a version's id")
        return base

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError("give epochs or max_steps, not both")
        if self.lora is not None and self.adapter is None:
            raise ValueError("lora is given but adapter is not; set adapter to lora or leave lora out")
        if self.batch_size % self.processes:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared evenly by {self.processes} processes")
        micro = self.micro_batch_size
        if micro is not None and self.batch_size % (micro * self.processes):
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of"
                f" micro_batch_size x processes = {micro * self.processes}"
            )
        return self

    def resolved(self) -> TrainingSpec:
        """Return the spec with every default written out, as the run's record keeps it."""
        lora = self.adapter == "lora"
        return self.model_copy(
            update={
                "lora": (self.lora or LoraSpec()) if lora else None,
                "epochs": DEFAULT_EPOCHS if self.epochs is None and self.max_steps is None else self.epochs,
                "learning_rate": self.learning_rate or (LORA_LEARNING_RATE if lora else FULL_LEARNING_RATE),
                "micro_batch_size": self.micro_batch_size or _micro_batch_size(self.batch_size // self.processes),
            }
        )

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches of one optimizer step in each process."""
        share = self.batch_size // self.processes
        return share // (self.micro_batch_size or _micro_batch_size(share))


class PreviewQuery(SplitRef):
    """Which rows to show as a base model would see them."""

    base: str = Field(
        min_length=1, description="A model version's id, a folder on the server or a hub id in its cache."
    )
    offset: int = Field(0, ge=0, le=2**63 - 1)
    limit: int = Field(5, ge=1, le=20)
    max_length: int = Field(1024, ge=8, description="Tokens of a row; the rest is cut.")


class Span(Schema):
    """A run of tokens as text, special tokens included."""

    text: str
    trained: bool


class PreviewRow(Schema):
    """One row as tokens."""

    row_id: int
    spans: list[Span]
    tokens: int
    trained_tokens: int
    #: Tokens beyond `max_length`.
    cut_tokens: int
    #: Earlier answers that are not trained, because they are served with other tokens.
    untrained_turns: int


class Preview(Schema):
    """Rows as the base model would see them; `total` counts the whole split."""

    items: list[PreviewRow]
    total: int
    #: Where the template was found; `plain` means that the model brings none.
    template: str


class TrainedRowsQuery(Schema):
    """Which of the rows that trained a version to show."""

    offset: int = Field(0, ge=0, le=2**63 - 1)
    limit: int = Field(50, ge=1, le=200)


class RowModel(Schema):
    """A model version that saw a row."""

    version_id: str
    name: str
    #: The dataset version through which it saw the row.
    dataset_version_id: str
    #: Whether it was trained on the row itself; else it was made from a version that was.
    direct: bool


class BaseModelRef(Schema):
    """The model a run starts from."""

    version_id: str
    #: Folder relative to the home, or absolute.
    path: str


class TrainingJob(Schema):
    """All that a training worker needs, without the database."""

    training: TrainingSpec
    base: BaseModelRef
    data: DataRef


def _micro_batch_size(share: int) -> int:
    return max(size for size in range(1, min(share, MICRO_BATCH_LIMIT) + 1) if share % size == 0)
