"""Supervised fine-tuning: from a resolved job to a trainer that is ready to run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
import transformers
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig

from workbench.inference import load
from workbench.inference.template import Example
from workbench.training.rows import TokenisedRows
from workbench.training.schemas import LoraSpec, TrainingSpec
from workbench.training.trainer import ResumableTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100  # label of a token that is not trained
SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def make_trainer(spec: TrainingSpec, base: Path, rows: TokenisedRows, folder: Path) -> ResumableTrainer:
    """Load the base and join it with rows and settings; checkpoints will go to `folder`. `spec` is resolved."""
    device = load.default_device()
    trainer = ResumableTrainer(
        model=_network(spec, base, device),
        args=arguments(spec, device, folder),
        train_dataset=training_dataset(rows.examples),
        processing_class=transformers.AutoTokenizer.from_pretrained(
            base, local_files_only=True, trust_remote_code=False
        ),
        peft_config=_lora(spec.lora) if spec.lora is not None else None,
        folder=folder,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def add_callbacks(trainer: ResumableTrainer, *callbacks: TrainerCallback) -> None:
    """Add callbacks; the first restores what the next ones read."""
    for callback in callbacks:
        trainer.add_callback(callback)


def training_dataset(examples: list[Example]) -> datasets.Dataset:
    """Return token ids and labels; a label is the token itself in the completion, else ignored."""
    return datasets.Dataset.from_dict(
        {"input_ids": [example.input_ids for example in examples], "labels": [_labels(example) for example in examples]}
    )


def arguments(spec: TrainingSpec, device: torch.device, folder: Path) -> SFTConfig:
    """Translate a resolved spec into TRL's settings."""
    mixed = device.type == "cuda" and spec.dtype == "auto"
    with warnings.catch_warnings():
        # TRL's own default still goes by the deprecated name, so setting the new one alone does not switch it off
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        return _arguments(spec, device, folder, mixed)


def _arguments(spec: TrainingSpec, device: torch.device, folder: Path, mixed: bool) -> SFTConfig:
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=spec.epochs or 1,
        max_steps=spec.max_steps or -1,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=SCHEDULERS[spec.scheduler],
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        adam_beta2=spec.adam_beta2,
        max_grad_norm=spec.max_grad_norm,
        per_device_train_batch_size=spec.micro_batch_size,
        gradient_accumulation_steps=spec.accumulation_steps,
        seed=spec.seed,
        logging_steps=spec.logging_steps,
        save_steps=spec.save_steps,
        bf16=mixed,
        use_cpu=device.type == "cpu",
        **_fixed(spec, device),
    )


def _fixed(spec: TrainingSpec, device: torch.device) -> dict[str, Any]:
    return {
        "gradient_checkpointing": spec.gradient_checkpointing,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,  # rows are cut already
        "logging_nan_inf_filter": False,  # a diverged run must be seen
        "dataloader_pin_memory": device.type == "cuda",
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "report_to": "none",
        "push_to_hub": False,
    }


def _network(spec: TrainingSpec, base: Path, device: torch.device) -> PreTrainedModel:
    half = spec.dtype == "bfloat16" or (spec.dtype == "auto" and device.type == "cuda" and spec.adapter is not None)
    network = load.load_network(base, "bfloat16" if half else "float32")
    network.config.use_cache = False
    return network


def _lora(spec: LoraSpec) -> LoraConfig:
    return LoraConfig(
        r=spec.r,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules,
        task_type="CAUSAL_LM",
    )


def _labels(example: Example) -> list[int]:
    return [
        token if trained else IGNORED for token, trained in zip(example.input_ids, example.completion_mask, strict=True)
    ]
