"""A model that never ends an answer by itself; as it comes, slow enough to be watched."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file, save_file

from workbench.testing import make_model


def make_endless_model(
    folder: Path, hidden_size: int = 768, num_hidden_layers: int = 10, max_position_embeddings: int = 4096
) -> Path:
    """Make a Llama shape whose special tokens are never the likeliest: their logits are 0, and the greatest above."""
    shape = {"hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers}
    make_model(folder, "llama", **shape, max_position_embeddings=max_position_embeddings)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"][:3] = 0
    save_file(weights, path, {"format": "pt"})
    return folder
