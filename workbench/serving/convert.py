"""Writes a model folder as one GGUF file, tensor by tensor, so that memory stays small whatever the model's size."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map, quant_shape_to_byte_shape, quants
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH_NAMES

from workbench.inference.template import ChatTemplate
from workbench.inference.weights import TensorEntry, tensors
from workbench.serving.schemas import Quantization
from workbench.serving.shapes import Array, Shape, shape_of
from workbench.serving.vocabulary import NotConvertible, Vocabulary, read_vocabulary

CONVERTER = 1  # raise it when a file of the same model would come out different
EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight")
LATENT = re.compile(r"model\.layers\.(\d+)\.self_attn\.kv_b_proj\.weight")
TYPES: dict[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q5_1": (GGMLQuantizationType.Q5_1, LlamaFileType.MOSTLY_Q5_1),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
STORED: dict[str, Quantization] = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
VOCABULARY_WIDTH = 32


@dataclass(frozen=True)
class Planned:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    load: Callable[[], Array]

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return math.prod(quant_shape_to_byte_shape(self.shape, self.kind)) if self._blocks else self._plain_bytes

    @property
    def _blocks(self) -> bool:
        return bool(GGML_QUANT_SIZES[self.kind][0] > 1)

    @property
    def _plain_bytes(self) -> int:
        return int(math.prod(self.shape) * GGML_QUANT_SIZES[self.kind][1])


def convert(
    folder: Path,
    target: Path,
    quantization: Quantization,
    pre: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write a model folder to `target` and return how many tensors have each type.

    The file appears whole or not at all. `pre` is llama.cpp's name of the tokenizer's pre-tokenizer. `progress` is told
    the bytes written and in all. Raises `NotConvertible`.
    """
    config = json.loads((folder / "config.json").read_bytes())
    shape = shape_of(config)
    chosen = stored_type(folder) if quantization == "stored" else quantization
    planned = list(plan(folder, shape, TYPES[chosen][0]))
    partial = target.with_name(f".{target.name}.partial")
    writer = GGUFWriter(partial, MODEL_ARCH_NAMES[shape.architecture])
    writer.add_name(folder.name)
    writer.add_file_type(TYPES[chosen][1])
    writer.add_quantization_version(2)
    shape.write(writer)
    vocabulary_of(folder, shape).write(writer, pre)
    try:
        _write(writer, planned, progress)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return dict(Counter(tensor.kind.name for tensor in planned))


def write_vocabulary(folder: Path, target: Path, pre: str) -> None:
    """Write a file that has the model's tokenizer and a model too small to matter, to try a pre-tokenizer with."""
    config = json.loads((folder / "config.json").read_bytes())
    vocabulary = vocabulary_of(folder, shape_of(config))
    width, size = VOCABULARY_WIDTH, len(vocabulary.tokens)
    tiny = {
        "model_type": "llama",
        "max_position_embeddings": 512,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "intermediate_size": width,
        "num_attention_heads": 1,
        "rms_norm_eps": 1e-6,
        "vocab_size": size,
        "rope_theta": 10_000.0,
    }
    shape = Shape("llama", tiny)
    names = {"token_embd": (size, width), "output_norm": (width,)}
    names |= {f"blk.0.{name}": (width, width) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    names |= {f"blk.0.{name}": (width, width) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    names |= {f"blk.0.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
    writer = GGUFWriter(target, "llama")
    writer.add_name("vocabulary")
    writer.add_file_type(LlamaFileType.ALL_F32)
    shape.write(writer)
    vocabulary.write(writer, pre)
    f32 = GGMLQuantizationType.F32
    zeros = [_planned(f"{name}.weight", dims, f32, _zeros(dims)) for name, dims in names.items()]
    _write(writer, zeros, lambda done, total: None)


def vocabulary_of(folder: Path, shape: Shape) -> Vocabulary:
    """Read the folder's tokenizer for its embedding."""
    template = ChatTemplate.from_folder(folder)
    return read_vocabulary(folder, int(shape.config["vocab_size"]), template.text)


def stored_type(folder: Path) -> Quantization:
    """Return the type that most of the weights have in the folder."""
    sizes: Counter[str] = Counter()
    for entry in tensors(folder):
        sizes[entry.dtype] += math.prod(entry.shape)
    return _stored(sizes.most_common(1)[0][0])


def plan(folder: Path, shape: Shape, kind: GGMLQuantizationType) -> Iterator[Planned]:
    """Yield every tensor of the file."""
    names = get_tensor_name_map(shape.architecture, shape.layers)
    experts: dict[tuple[str, str], dict[int, TensorEntry]] = {}
    for entry in tensors(folder):
        if shape.skips(entry.name):
            continue
        if found := EXPERT.fullmatch(entry.name):
            experts.setdefault((found[1], found[3]), {})[int(found[2])] = entry
        elif LATENT.fullmatch(entry.name):
            yield from _latent(entry, shape, kind)
        else:
            yield _one(entry, shape, kind, names)
    for (layer, projection), entries in experts.items():
        yield _stacked(layer, projection, entries, shape, kind)
    factors = shape.rope_factors()
    if factors is not None:
        yield Planned("rope_freqs.weight", factors.shape, GGMLQuantizationType.F32, lambda: factors)


def _one(entry: TensorEntry, shape: Shape, kind: GGMLQuantizationType, names: Any) -> Planned:
    wanted = entry.name.replace("e_score_correction_bias", "e_score_correction.bias")
    found = names.get_name(wanted, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise NotConvertible(f"Its tensor {entry.name} has no place in llama.cpp’s {shape.family} models.")
    transform = shape.transform(entry.name)
    return _planned(found, entry.shape, kind, lambda: transform(read(entry)))


def _stacked(
    layer: str, projection: str, entries: dict[int, TensorEntry], shape: Shape, kind: GGMLQuantizationType
) -> Planned:
    if sorted(entries) != list(range(shape.experts)):
        raise NotConvertible(f"Layer {layer} has {len(entries)} experts, and its config says {shape.experts}.")
    parts = [entries[number] for number in range(shape.experts)]
    name = f"blk.{layer}.ffn_{projection}_exps.weight"
    return _planned(name, (len(parts), *parts[0].shape), kind, lambda: np.stack([read(part) for part in parts]))


def _latent(entry: TensorEntry, shape: Shape, kind: GGMLQuantizationType) -> Iterator[Planned]:
    """Split the projection from the compressed keys and values into its two halves, as llama.cpp keeps them."""
    found = LATENT.fullmatch(entry.name)
    assert found is not None
    heads, rank = int(shape.config["num_attention_heads"]), int(shape.config["kv_lora_rank"])
    keys, values = int(shape.config["qk_nope_head_dim"]), int(shape.config["v_head_dim"])

    def whole() -> Array:
        return read(entry).reshape(heads, keys + values, rank)

    prefix = f"blk.{found[1]}.attn"
    yield _planned(f"{prefix}_k_b.weight", (heads, rank, keys), kind, lambda: whole()[:, :keys].swapaxes(1, 2))
    yield _planned(f"{prefix}_v_b.weight", (heads, values, rank), kind, lambda: whole()[:, keys:])


def _planned(name: str, shape: tuple[int, ...], kind: GGMLQuantizationType, load: Callable[[], Array]) -> Planned:
    return Planned(name, shape, _kind(name, shape, kind), load)


def _kind(name: str, shape: tuple[int, ...], wanted: GGMLQuantizationType) -> GGMLQuantizationType:
    """Return a tensor's real type: vectors, norms and routers stay exact, and a width that no block divides is f16."""
    if len(shape) == 1 or name.endswith(("_norm.weight", "ffn_gate_inp.weight")) or not name.endswith(".weight"):
        return GGMLQuantizationType.F32
    block, _ = GGML_QUANT_SIZES[wanted]
    return wanted if shape[-1] % block == 0 else GGMLQuantizationType.F16


def _write(writer: GGUFWriter, planned: list[Planned], progress: Callable[[int, int], None]) -> None:
    for tensor in planned:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size_bytes, tensor.kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        total, done = sum(tensor.size_bytes for tensor in planned), 0
        for tensor in planned:
            content = np.ascontiguousarray(tensor.load(), dtype=np.float32)
            writer.write_tensor_data(quants.quantize(content, tensor.kind))
            done += tensor.size_bytes
            progress(done, total)
    finally:
        writer.close()


def read(entry: TensorEntry) -> Array:
    """Read one tensor as 32-bit floats."""
    raw = np.memmap(entry.path, np.uint8, "r", entry.begin, (entry.end - entry.begin,))
    kind = _stored(entry.dtype)
    if kind == "bf16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
    return raw.view(np.float32 if kind == "f32" else np.float16).astype(np.float32).reshape(entry.shape)


def _stored(dtype: str) -> Quantization:
    if dtype not in STORED:
        raise NotConvertible(f"Its weights are stored as {dtype}; only F32, F16 and BF16 are converted.")
    return STORED[dtype]


def _zeros(shape: tuple[int, ...]) -> Callable[[], Array]:
    return lambda: np.zeros(shape, np.float32)
