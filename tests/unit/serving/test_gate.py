"""What is converted answers as transformers does, and what would not is caught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import ExpertGatingFuncType, GGUFReader, quants
from tokenizers import Tokenizer, pre_tokenizers

from workbench.serving import convert, gate, shapes, vocabulary
from workbench.serving.corpus import SIZE, corpus
from workbench.serving.vocabulary import NotConvertible
from workbench.testing import Family, make_model

pytestmark = pytest.mark.slow
SHAPES: list[tuple[Family, dict[str, Any]]] = [
    ("qwen3", {}),
    ("qwen3", {"tie_word_embeddings": True}),
    ("llama", {}),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 128,
            }
        },
    ),
    ("mistral", {}),
    ("gemma", {"tie_word_embeddings": True}),
    ("deepseek_v3", {"q_lora_rank": 32}),
]
REFUSED: list[tuple[Family, dict[str, Any], str]] = [
    ("deepseek_v3", {}, "q_lora_rank"),
    ("gemma", {"tie_word_embeddings": False}, "output layer"),
    ("llama", {"mlp_bias": True}, "biases"),
    (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}},
        "rotary positions",
    ),
]


@pytest.mark.parametrize(("family", "options"), SHAPES)
def test_a_supported_shape_answers_as_under_transformers(family: Family, options: Any, tmp_path: Path) -> None:
    certificate = gate.certify(make_model(tmp_path / "model", family, **options), tmp_path)
    assert certificate.holds, certificate.reason
    assert (certificate.strings, certificate.strings_different) == (SIZE, 0)
    assert (certificate.prompts, certificate.prompts_different) == (gate.PROMPTS, 0)
    assert certificate.max_logprob_difference is not None
    assert certificate.max_logprob_difference < gate.TOLERANCE


def test_a_large_shape_is_checked_by_a_small_clone(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "llama", hidden_size=512, num_attention_heads=8, num_key_value_heads=4)
    certificate = gate.certify(folder, tmp_path)
    assert certificate.holds, certificate.reason
    cloned = json.loads((tmp_path / "clone" / "config.json").read_bytes())
    assert (cloned["hidden_size"], cloned["num_attention_heads"], cloned["num_key_value_heads"]) == (256, 4, 2)


@pytest.mark.parametrize(("family", "options", "word"), REFUSED)
def test_a_shape_that_llama_cpp_computes_otherwise_is_refused(
    family: Family, options: Any, word: str, tmp_path: Path
) -> None:
    certificate = gate.certify(make_model(tmp_path / "model", family, **options), tmp_path)
    assert not certificate.holds
    assert word in (certificate.reason or "")


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_the_gate_catches_queries_that_are_not_permuted(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "interleaved", lambda values, heads: values)
    _must_fail(family, {}, tmp_path)


def test_the_gate_catches_norms_without_their_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "plus_one", shapes.unchanged)
    _must_fail("gemma", {"tie_word_embeddings": True}, tmp_path)


def test_the_gate_catches_a_wrong_gating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "gating", lambda family: ExpertGatingFuncType.SOFTMAX)
    _must_fail("deepseek_v3", {"q_lora_rank": 32}, tmp_path)


def test_the_gate_catches_a_wrong_pre_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary.Vocabulary, "suggestions", lambda self: ["gpt-2", "smollm"])
    telling = [
        "I'LL we'll IT'S it's",
        "!!!\n\n?!\n ...\n\n",
        "a\u00a0b \n \n\n x  y",
        "3 33 333 3333",
        "\t\tx\r\n",
    ] * 50
    certificate = gate.certify(make_model(tmp_path / "model", texts=telling), tmp_path)
    assert not certificate.holds
    assert certificate.strings_different > 0
    assert "pre-tokenizer" in (certificate.reason or "")


def test_other_pre_tokenizers_are_found_by_probing(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    _replace_pre_tokenizer(folder, pre_tokenizers.ByteLevel(add_prefix_space=False))
    assert gate.pre_tokenizer(folder, tmp_path) == ("gpt-2", 0)
    digits = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    _replace_pre_tokenizer(folder, pre_tokenizers.Sequence(digits))
    assert gate.pre_tokenizer(folder, tmp_path) == ("smollm", 0)


@pytest.mark.parametrize(
    ("pre", "word"),
    [(pre_tokenizers.ByteLevel(add_prefix_space=True), "space"), (pre_tokenizers.Whitespace(), "byte-level")],
)
def test_a_tokenizer_of_another_kind_is_refused(pre: Any, word: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    _replace_pre_tokenizer(folder, pre)
    with pytest.raises(NotConvertible, match=word):
        gate.pre_tokenizer(folder, tmp_path)


@pytest.mark.parametrize(
    ("quantization", "kind", "tolerance"),
    [
        ("f16", "F16", 1e-3),
        ("bf16", "BF16", 8e-3),
        ("q8_0", "Q8_0", 2e-2),
        ("q5_1", "Q5_1", 0.1),
        ("q4_0", "Q4_0", 0.2),
    ],
)
def test_each_quantization_keeps_what_it_can_and_says_what_it_kept(
    quantization: Any, kind: str, tolerance: float, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "model", "qwen3")
    exact, small = tmp_path / "exact.gguf", tmp_path / "small.gguf"
    convert.convert(folder, exact, "f32", "qwen2")
    types = convert.convert(folder, small, quantization, "qwen2")
    read = {tensor.name: tensor for tensor in GGUFReader(small).tensors}
    assert types == {kind: 16, "F32": 9}
    assert read["blk.0.attn_q.weight"].tensor_type.name == kind
    assert read["blk.0.attn_norm.weight"].tensor_type.name == "F32"
    assert small.stat().st_size < exact.stat().st_size
    wanted = next(tensor for tensor in GGUFReader(exact).tensors if tensor.name == "blk.0.ffn_up.weight").data
    kept = quants.dequantize(read["blk.0.ffn_up.weight"].data, read["blk.0.ffn_up.weight"].tensor_type)
    error = np.sqrt(np.mean((kept.reshape(wanted.shape) - wanted) ** 2)) / np.sqrt(np.mean(wanted**2))
    assert 0 < error < tolerance


def test_a_width_that_no_block_divides_is_kept_as_f16(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "qwen3", intermediate_size=72)
    types = convert.convert(folder, tmp_path / "model.gguf", "q8_0", "qwen2")
    assert types["F16"] == 2  # the two down projections


def test_a_conversion_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "qwen3")

    def break_off(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.convert(folder, tmp_path / "model.gguf", "f32", "qwen2", break_off)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_corpus_is_the_same_each_time_and_has_every_kind_of_text() -> None:
    texts = list(corpus())
    assert texts == list(corpus())
    assert len(texts) == SIZE
    assert len(set(texts)) > 0.97 * SIZE
    everything = "".join(texts)
    for sample in ("0", "的", "한", "😀", "\n", "\u00a0", "def", "é", "ا"):
        assert sample in everything


def _must_fail(family: Family, options: Any, folder: Path) -> None:
    certificate = gate.certify(make_model(folder / "model", family, **options), folder)
    assert not certificate.holds
    assert certificate.prompts_different > 0
    assert "otherwise than transformers" in (certificate.reason or "")


def _replace_pre_tokenizer(folder: Path, pre: Any) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre
    tokenizer.save(str(folder / "tokenizer.json"))
