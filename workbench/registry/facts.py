"""What a model is, read from its config and the headers of its weights. Loads no weights and runs nothing of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.inference.weights import TensorEntry, tensors
from workbench.registry.folders import BaseModelInvalid
from workbench.registry.schemas import ModelFacts

CONFIG_BYTES = 16 * 2**20  # a larger config.json is none
README_BYTES = 64 * 2**10  # how far the licence is looked for
EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")


def read_facts(folder: Path) -> ModelFacts:
    """Read a model folder that `folders.checked` has accepted; raises `BaseModelInvalid` for a broken config."""
    config = _config(folder)
    entries = tensors(folder)
    dtypes = Counter({entry.dtype: 0 for entry in entries})
    for entry in entries:
        dtypes[entry.dtype] += math.prod(entry.shape)
    return ModelFacts(
        architecture=_text(config.get("model_type")),
        parameters=dtypes.total(),
        size_bytes=sum(entry.end - entry.begin for entry in entries),
        dtype=dtypes.most_common(1)[0][0],
        context_length=_count(config.get("max_position_embeddings")),
        layers=_count(config.get("num_hidden_layers")),
        hidden_size=_count(config.get("hidden_size")),
        attention=_attention(config),
        experts=next((found for name in EXPERTS if (found := _count(config.get(name)))), None),
        vocabulary=_count(config.get("vocab_size")),
        tied_embeddings=_tied(config, entries),
        licence=_licence(folder),
        template=_template(folder),
    )


def _config(folder: Path) -> Mapping[str, Any]:
    config = _document(folder / "config.json")
    nested = config.get("text_config")  # multimodal models keep the language model's shape here
    return {**config, **nested} if isinstance(nested, dict) else config


def _document(path: Path) -> dict[str, Any]:
    if path.stat().st_size > CONFIG_BYTES:
        raise BaseModelInvalid(f"{path.parent.name}/{path.name} is too large to be a configuration.")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BaseModelInvalid(
            f"{path.parent.name}/{path.name} is not valid JSON; download the model again."
        ) from error
    if not isinstance(content, dict):
        raise BaseModelInvalid(f"{path.parent.name}/{path.name} holds no JSON object; download the model again.")
    return content


def _attention(config: Mapping[str, Any]) -> str | None:
    """Name the attention by how its heads share keys and values, with its window if it slides."""
    heads = _count(config.get("num_attention_heads"))
    shared = _count(config.get("num_key_value_heads")) or heads
    if _count(config.get("kv_lora_rank")):
        return f"multi-head latent, {heads} heads"
    if heads is None or shared is None:
        return None
    kind = "multi-head" if shared == heads else "multi-query" if shared == 1 else "grouped-query"
    window = _count(config.get("sliding_window")) if config.get("use_sliding_window", True) else None
    named = f"{kind}, {heads} heads" + (f" over {shared}" if 1 < shared < heads else "")
    return f"{named}, window {window}" if window else named


def _tied(config: Mapping[str, Any], entries: list[TensorEntry]) -> bool:
    declared = config.get("tie_word_embeddings")
    return declared if isinstance(declared, bool) else not any(entry.name == "lm_head.weight" for entry in entries)


def _licence(folder: Path) -> str | None:
    """Return the licence that the model card's front matter names."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    with card.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(README_BYTES).splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    front = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else []
    fields = dict(line.split(":", 1) for line in front if ":" in line)
    named = fields.get("license_name", "").strip(" \"'") or fields.get("license", "").strip(" \"'")
    return named[:100] or None


def _template(folder: Path) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return "chat_template.jinja"
    path = folder / "tokenizer_config.json"
    return "tokenizer_config.json" if path.is_file() and _document(path).get("chat_template") else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _text(value: object) -> str | None:
    return value[:100] if isinstance(value, str) else None
