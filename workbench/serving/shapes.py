"""Which model shapes llama.cpp can serve, and how their configs and tensors are written in GGUF.

Each rule was found by comparing next-token probabilities with transformers; a shape that is known to differ is refused
here, and the gate compares every shape again before it is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, ExpertGatingFuncType, GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from workbench.serving.vocabulary import NotConvertible

Config = Mapping[str, Any]
Array = NDArray[np.float32]

ARCHITECTURES = {
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3,
    "qwen3_moe": MODEL_ARCH.QWEN3MOE,
    "llama": MODEL_ARCH.LLAMA,
    "mistral": MODEL_ARCH.LLAMA,
    "gemma": MODEL_ARCH.GEMMA,
    "gemma3_text": MODEL_ARCH.GEMMA3,
    "deepseek_v2": MODEL_ARCH.DEEPSEEK2,
    "deepseek_v3": MODEL_ARCH.DEEPSEEK2,
}
LITE_LAYERS = 27  # llama.cpp takes a DeepSeek of 27 layers, and only that, for one without a compressed query
LAYER = re.compile(r"model\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Shape:
    """A supported model shape."""

    family: str
    config: Config

    @property
    def architecture(self) -> MODEL_ARCH:
        """llama.cpp's name of the family."""
        return ARCHITECTURES[self.family]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config["num_hidden_layers"])

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        own = self.config.get("head_dim")
        return int(own or self.config["hidden_size"] // self.config["num_attention_heads"])

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return int(self.config.get("num_key_value_heads") or self.config["num_attention_heads"])

    @property
    def experts(self) -> int:
        """Number of routed experts; 0 for a dense model."""
        names = ("n_routed_experts", "num_local_experts", "num_experts")
        return max(int(self.config.get(name) or 0) for name in names)

    @property
    def context_length(self) -> int:
        """Tokens that it can see; a sliding window that llama.cpp does not have limits it."""
        longest = int(self.config["max_position_embeddings"])
        window = self.config.get("sliding_window") if self.family in ("qwen2", "qwen3", "mistral") else None
        if not window or not self.config.get("use_sliding_window", self.family == "mistral"):
            return longest
        return min(longest, int(window))

    def skips(self, name: str) -> bool:
        """Tell whether a tensor has no place in the file."""
        layer = LAYER.match(name)
        beyond = layer is not None and int(layer[1]) >= self.layers  # layers that predict several tokens ahead
        tied = name == "lm_head.weight" and (self.tied or self.family in ("gemma", "gemma3_text"))
        return beyond or tied or name.endswith("rotary_emb.inv_freq")

    @property
    def tied(self) -> bool:
        """Whether the output layer is the embedding."""
        return bool(self.config.get("tie_word_embeddings", False))

    def transform(self, name: str) -> Callable[[Array], Array]:
        """Return what has to be done to a tensor's numbers."""
        if self.family in ("llama", "mistral") and re.search(r"\.(q|k)_proj\.", name):
            heads = int(self.config["num_attention_heads"]) if ".q_proj." in name else self.kv_heads
            return lambda values: interleaved(values, heads)
        if self.family in ("gemma", "gemma3_text") and name.endswith("norm.weight"):
            return plus_one
        return unchanged

    def write(self, writer: GGUFWriter) -> None:
        """Add the config to a GGUF file's metadata."""
        config = self.config
        writer.add_context_length(int(config["max_position_embeddings"]))
        writer.add_embedding_length(int(config["hidden_size"]))
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(int(config["intermediate_size"]))
        writer.add_head_count(int(config["num_attention_heads"]))
        writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
        writer.add_vocab_size(int(config["vocab_size"]))
        self._write_rope(writer)
        if self.architecture is MODEL_ARCH.DEEPSEEK2:
            self._write_latent_attention(writer)
        else:
            writer.add_head_count_kv(self.kv_heads)
            writer.add_key_length(self.head_dim)
            writer.add_value_length(self.head_dim)
        if self.experts:
            self._write_experts(writer)
        if self.family == "gemma3_text":
            writer.add_sliding_window(int(config["sliding_window"]))

    def rope_factors(self) -> Array | None:
        """Return the factor of each rotary frequency of Llama 3's scaling, None for any other.

        Long waves are slowed by the whole factor, short ones not at all, and between both limits the change is linear.
        """
        rope = rope_of(self.config)
        if rope.get("rope_type") != "llama3":
            return None
        original = float(rope["original_max_position_embeddings"])
        low, high, factor = (float(rope[name]) for name in ("low_freq_factor", "high_freq_factor", "factor"))
        exponents = np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim
        waves = 2 * math.pi * float(rope["rope_theta"]) ** exponents
        smooth = np.clip((original / waves - low) / (high - low), 0, 1)
        return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)

    def _write_rope(self, writer: GGUFWriter) -> None:
        rope = rope_of(self.config)
        if self.family == "gemma3_text":
            writer.add_rope_freq_base(float(rope["full_attention"]["rope_theta"]))
            writer.add_float32("gemma3.rope.freq_base_swa", float(rope["sliding_attention"]["rope_theta"]))
            return
        writer.add_rope_freq_base(float(rope["rope_theta"]))
        if self.architecture is MODEL_ARCH.LLAMA:
            writer.add_rope_dimension_count(self.head_dim)
        kind = rope.get("rope_type", "default")
        if kind == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(rope["factor"]))

    def _write_latent_attention(self, writer: GGUFWriter) -> None:
        config = self.config
        rank, rotated = int(config["kv_lora_rank"]), int(config["qk_rope_head_dim"])
        writer.add_head_count_kv(1)
        writer.add_leading_dense_block_count(int(config["first_k_dense_replace"]))
        writer.add_kv_lora_rank(rank)
        if config.get("q_lora_rank"):
            writer.add_q_lora_rank(int(config["q_lora_rank"]))
        writer.add_key_length(rank + rotated)
        writer.add_value_length(rank)
        writer.add_key_length_mla(int(config["qk_nope_head_dim"]) + rotated)
        writer.add_value_length_mla(int(config["v_head_dim"]))
        writer.add_rope_dimension_count(rotated)

    def _write_experts(self, writer: GGUFWriter) -> None:
        config = self.config
        writer.add_expert_count(self.experts)
        writer.add_expert_used_count(int(config["num_experts_per_tok"]))
        writer.add_expert_feed_forward_length(int(config["moe_intermediate_size"]))
        if self.architecture is not MODEL_ARCH.DEEPSEEK2:
            return
        third = self.family == "deepseek_v3"
        writer.add_expert_shared_count(int(config["n_shared_experts"]))
        writer.add_expert_weights_scale(float(config.get("routed_scaling_factor", 1.0)))
        if third:
            writer.add_expert_weights_norm(bool(config.get("norm_topk_prob", True)))
            writer.add_expert_group_count(int(config.get("n_group") or 1))
            writer.add_expert_group_used_count(int(config.get("topk_group") or 1))
        writer.add_expert_gating_func(gating(self.family))


def gating(family: str) -> ExpertGatingFuncType:
    """Return how a router turns its scores into weights; transformers' configs do not say it."""
    return ExpertGatingFuncType.SIGMOID if family == "deepseek_v3" else ExpertGatingFuncType.SOFTMAX


def shape_of(config: Config) -> Shape:
    """Return the shape of a model's config; raises `NotConvertible` for one that llama.cpp would compute otherwise."""
    family = str(config.get("model_type"))
    if family not in ARCHITECTURES:
        raise NotConvertible(f"Models of the type “{family}” are not converted for llama.cpp.")
    shape = Shape(family, config)
    for holds, why in _differences(shape):
        if holds:
            raise NotConvertible(why)
    return shape


def _differences(shape: Shape) -> list[tuple[bool, str]]:
    config, family = shape.config, shape.family
    rope = rope_of(config)
    kind = rope.get("rope_type", "default")
    lite = family in ("deepseek_v2", "deepseek_v3") and not config.get("q_lora_rank")
    scale = config.get("query_pre_attn_scalar")
    return [
        (
            lite and shape.layers != LITE_LAYERS,
            f"A DeepSeek without a compressed query (q_lora_rank) loads in llama.cpp only with {LITE_LAYERS} layers.",
        ),
        (
            family == "qwen3_moe" and not config.get("norm_topk_prob", False),
            "llama.cpp always normalises the experts’ weights, and this model does not (norm_topk_prob = false).",
        ),
        (
            family == "gemma3_text" and scale is not None and scale != shape.head_dim,
            "llama.cpp scales queries by the head’s width, and this model by query_pre_attn_scalar.",
        ),
        (
            family != "gemma3_text" and kind not in ("default", "linear", "llama3"),
            f"Its rotary positions are scaled by “{kind}”, which is not converted.",
        ),
        (
            family in ("gemma", "gemma3_text") and not config.get("tie_word_embeddings", True),
            "llama.cpp’s Gemma answers with its embedding, and this model has an output layer of its own.",
        ),
        (bool(config.get("quantization_config")), "Its weights are quantized already; give the original model."),
        (bool(config.get("mlp_bias")), "Its feed-forward layers have biases, which are not converted."),
    ]


def rope_of(config: Config) -> Config:
    """Return the rotary parameters, wherever this version of the config keeps them."""
    old = dict(config.get("rope_scaling") or {})
    found = dict(config.get("rope_parameters") or {}) or old | {"rope_theta": config.get("rope_theta", 10_000.0)}
    if "type" in found:
        found.setdefault("rope_type", found["type"])
    return found


def interleaved(values: Array, heads: int) -> Array:
    """Reorder the rows of a query or key projection: transformers rotates halves, llama.cpp neighbours."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def plus_one(values: Array) -> Array:
    """Gemma's norms multiply by one more than their weight."""
    return values + 1


def unchanged(values: Array) -> Array:
    """Return the numbers as they are."""
    return values
