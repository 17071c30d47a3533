"""Load a causal language model from a folder: safetensors only, and never code that a model brought along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import transformers

from workbench.core.errors import Invalid
from workbench.inference.template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Dtype = Literal["float32", "bfloat16"]


class ModelInvalid(Invalid):
    """The model folder cannot be loaded."""

    code = "model.invalid"


@dataclass(frozen=True)
class LanguageModel:
    """A model in evaluation mode, with its template."""

    network: PreTrainedModel
    template: ChatTemplate
    device: torch.device


def load(folder: Path, dtype: Dtype | None = None) -> LanguageModel:
    """Load a model for inference, on the GPU where there is one; raises ModelInvalid or a template error."""
    device = default_device()
    template = ChatTemplate.from_folder(folder)
    network = load_network(folder, dtype or default_dtype(device)).to(device).eval()
    return LanguageModel(network, template, device)


def load_network(folder: Path, dtype: Dtype) -> PreTrainedModel:
    """Load the bare network on the CPU; raises ModelInvalid."""
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelInvalid(f"The model folder {folder.name!r} cannot be loaded: {first}") from error


def default_device() -> torch.device:
    """Return the first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> Dtype:
    """Return float32 on the CPU, where bfloat16 is slow and coarse, and bfloat16 on a GPU."""
    return "float32" if device.type == "cpu" else "bfloat16"
