from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from workbench.registry.facts import read_facts
from workbench.registry.folders import BaseModelInvalid, name_of

GROUPED = {
    "model_type": "qwen3",
    "max_position_embeddings": 40_960,
    "num_hidden_layers": 28,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}
LATENT = {"model_type": "deepseek_v3", "num_attention_heads": 128, "kv_lora_rank": 512, "n_routed_experts": 256}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tensors = {
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [10, 4], "data_offsets": [0, 80]},
        "norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [80, 96]},
    }
    header = json.dumps(tensors).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(96))
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def write(folder: Path, config: Any, name: str = "config.json") -> Path:
    (folder / name).write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def test_the_facts_are_those_of_config_and_weights(folder: Path) -> None:
    facts = read_facts(write(folder, GROUPED))
    assert (facts.architecture, facts.context_length, facts.layers, facts.hidden_size) == ("qwen3", 40_960, 28, 1024)
    assert (facts.parameters, facts.size_bytes, facts.dtype) == (44, 96, "BF16")
    assert facts.attention == "grouped-query, 16 heads over 8"
    assert (facts.vocabulary, facts.tied_embeddings, facts.experts) == (151_936, True, None)
    assert (facts.licence, facts.template) == (None, None)


@pytest.mark.parametrize(
    ("config", "attention"),
    [
        ({"num_attention_heads": 32}, "multi-head, 32 heads"),
        ({"num_attention_heads": 8, "num_key_value_heads": 1}, "multi-query, 8 heads"),
        (LATENT, "multi-head latent, 128 heads"),
        (
            {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 4096},
            "grouped-query, 4 heads over 2, window 4096",
        ),
        ({"num_attention_heads": 4, "sliding_window": 4096, "use_sliding_window": False}, "multi-head, 4 heads"),
        ({}, None),
    ],
)
def test_attention_is_named_in_words(folder: Path, config: dict[str, Any], attention: str | None) -> None:
    assert read_facts(write(folder, config)).attention == attention


def test_experts_are_counted(folder: Path) -> None:
    assert read_facts(write(folder, LATENT)).experts == 256


def test_the_language_model_of_a_multimodal_one_counts(folder: Path) -> None:
    config = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 34}}
    facts = read_facts(write(folder, config))
    assert (facts.architecture, facts.layers) == ("gemma3_text", 34)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n# Qwen\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: 'deepseek'\n---\n", "deepseek"),
        ("# A card\nlicense: mit\n", None),
        ("---\nlicense: mit\nwithout an end", None),
        ("", None),
    ],
)
def test_the_licence_is_what_the_card_names(folder: Path, card: str, licence: str | None) -> None:
    write(folder, card, "README.md")
    assert read_facts(write(folder, {})).licence == licence


def test_the_place_of_the_chat_template_is_told(folder: Path) -> None:
    write(folder, {"chat_template": "{{ messages }}"}, "tokenizer_config.json")
    assert read_facts(write(folder, {})).template == "tokenizer_config.json"
    write(folder, "{{ messages }}", "chat_template.jinja")
    assert read_facts(folder).template == "chat_template.jinja"


@pytest.mark.parametrize("config", ["[]", "{", "[" * 100_000, '{"a": 1e999999999' + "}" * 2])
def test_a_broken_config_is_refused_in_words(folder: Path, config: str) -> None:
    with pytest.raises(BaseModelInvalid, match=r"config\.json .*; download the model again\."):
        read_facts(write(folder, config))


def test_odd_values_are_no_facts(folder: Path) -> None:
    odd = {"model_type": 7, "num_hidden_layers": "many", "vocab_size": True, "hidden_size": -1}
    facts = read_facts(write(folder, odd))
    assert (facts.architecture, facts.layers, facts.vocabulary, facts.hidden_size) == (None, None, None, None)


def test_a_model_of_the_hub_cache_has_its_hub_name() -> None:
    assert name_of(Path("/cache/models--Qwen--Qwen3-0.6B/snapshots/0123abcd")) == "Qwen/Qwen3-0.6B"
    assert name_of(Path("/srv/models/tiny")) == "tiny"
