"""A model that is slow enough to be watched, and never ends an answer by itself."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file, save_file

from workbench.testing import make_model


def make_endless_model(folder: Path) -> Path:
    """Make a Llama shape whose special tokens are never the likeliest: their logits are 0, and the greatest above."""
    make_model(folder, "llama", hidden_size=768, num_hidden_layers=10, max_position_embeddings=4096)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"][:3] = 0
    save_file(weights, path, {"format": "pt"})
    return folder
