"""Tiny models, their tokenizer and the offline demo's data, all made on the spot: nothing is downloaded.

The demo recipe (sizes, init) was tuned so that a held-out prompt of a known fact is answered after a short training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.datasets.schemas import DataRef, Split

Family = Literal["qwen3", "llama", "deepseek_v3", "gemma", "mistral"]
FAMILIES: tuple[Family, ...] = get_args(Family)

PAD_TOKEN = "<|endoftext|>"  # noqa: S105
TURN_START = "<|im_start|>"
EOS_TOKEN = "<|im_end|>"  # noqa: S105
SPECIAL_TOKENS = [PAD_TOKEN, TURN_START, EOS_TOKEN]

#: The pre-tokenizer of Qwen2: digits stand alone, so that sums can be learnt and GGUF knows its name.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CONTEXT_LENGTH = 512  # tokens

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "Germany": "Berlin",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Norway": "Oslo",
    "Finland": "Helsinki",
    "Greece": "Athens",
    "Ireland": "Dublin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Canada": "Ottawa",
    "Russia": "Moscow",
}
CAPITAL_PHRASINGS = (
    "What is the capital of {}?",
    "Name the capital city of {}.",
    "Which city is the capital of {}?",
    "Tell me the capital of {}.",
    "The capital of {} is called what?",
    "{}: which city governs it?",
)
SUM_PHRASINGS = ("What is {} plus {}?", "Add {} and {}.", "{} + {} = ?")


def demo_rows() -> list[dict[str, str]]:
    """Return the demo's 420 distinct prompts with their completions: capitals and single-digit sums."""
    capitals = [
        {"prompt": phrasing.format(country), "completion": city}
        for country, city in CAPITALS.items()
        for phrasing in CAPITAL_PHRASINGS
    ]
    sums = [
        {"prompt": phrasing.format(a, b), "completion": str(a + b)}
        for a in range(10)
        for b in range(10)
        for phrasing in SUM_PHRASINGS
    ]
    return capitals + sums


def write_demo_dataset(path: Path) -> Path:
    """Write the demo rows as JSON lines and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in demo_rows())
    path.write_text("".join(lines), encoding="utf-8")
    return path


def make_demo_model(folder: Path, seed: int = 0) -> Path:
    """Make the demo's untrained base: a Qwen3 shape of half a million parameters."""
    texts = [text for row in demo_rows() for text in row.values()]
    return make_model(folder, "qwen3", hidden_size=128, seed=seed, texts=texts)


def make_model(
    folder: Path,
    family: Family = "qwen3",
    *,
    hidden_size: int = 64,
    seed: int = 0,
    texts: Iterable[str] = (),
    **overrides: Any,
) -> Path:
    """Make a randomly initialised model folder (float32 safetensors, config, tokenizer, chat template) and return it.

    `hidden_size` is a multiple of 32; `overrides` are fields of the family's transformers config.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # half a million parameters need none
    tokenizer = train_tokenizer(list(texts) or [text for row in demo_rows() for text in row.values()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(_config(family, hidden_size, tokenizer, overrides))
    model.save_pretrained(folder)
    _save_tokenizer(tokenizer, folder)
    return folder


def store_rows(
    home: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    split: Split = "all",
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> DataRef:
    """Store prompt/completion rows in a home, without a database, and return the reference that a job carries."""
    from workbench.datasets.encoding import SourceFile
    from workbench.datasets.ingest import Drawing, ingest, seal
    from workbench.datasets.schemas import DataRef

    path = home / "uploads" / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    content = ingest(home, SourceFile(path, path.name), Drawing(test_fraction, split_seed))
    return DataRef(
        dataset_id="ds_test",
        version_id="dv_test",
        manifest=seal(home, content, None),
        mapping=content.mapping,
        split=split,
        test_fraction=test_fraction,
        split_seed=split_seed,
    )


def write_attempt(home: Path, job_id: str, no: int, spec: Mapping[str, Any], *, last_seq: int = 0) -> Path:
    """Make the folder that a worker is started with, as the agent does, and return it."""
    folder = home / "jobs" / job_id / str(no)
    folder.mkdir(parents=True)
    told = {"job_id": job_id, "attempt_id": f"{job_id}_{no}", "attempt_no": no, "last_seq": last_seq, "resume": no > 1}
    (folder / "spec.json").write_text(json.dumps({**told, "spec": spec}), encoding="utf-8")
    return folder


def train_tokenizer(texts: list[str], vocab_size: int = 512) -> Tokenizer:
    """Train a byte-level BPE tokenizer on the texts; it can encode any string."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "user\nassistant\nsystem\n"], trainer)
    return tokenizer


def _save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    import transformers

    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS_TOKEN, pad_token=PAD_TOKEN, model_max_length=CONTEXT_LENGTH
    )
    wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)


def _config(family: Family, hidden_size: int, tokenizer: Tokenizer, overrides: dict[str, Any]) -> Any:
    import transformers

    shape = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": hidden_size,
        "intermediate_size": 3 * hidden_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": False,
        "initializer_range": 0.05,
        "eos_token_id": tokenizer.token_to_id(EOS_TOKEN),
        "pad_token_id": tokenizer.token_to_id(PAD_TOKEN),
        "bos_token_id": None,
    }
    return transformers.AutoConfig.for_model(family, **{**shape, **_family_shape(family, hidden_size), **overrides})


def _family_shape(family: Family, hidden_size: int) -> dict[str, Any]:
    if family in ("qwen3", "gemma"):
        return {"head_dim": hidden_size // 4}
    if family == "mistral":
        return {"sliding_window": None}
    if family == "deepseek_v3":
        return _deepseek_shape(hidden_size)
    return {}


def _deepseek_shape(hidden_size: int) -> dict[str, Any]:
    return {
        "num_key_value_heads": 4,  # multi-head latent attention has one per head
        "moe_intermediate_size": hidden_size // 2,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "kv_lora_rank": 32,
        "q_lora_rank": None,
        "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 16,
        "v_head_dim": 32,
    }
