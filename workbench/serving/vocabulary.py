"""A byte-level BPE tokenizer as GGUF metadata. Needs numpy and gguf, neither torch nor transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from workbench.core.errors import Invalid

#: llama.cpp's names of pre-tokenizers that byte-level BPE models of the supported families use, in the order in which
#: they are tried when nothing in the tokenizer suggests one. Which of them fits is found by comparing token ids.
PRE_TOKENIZERS = ("qwen2", "llama-bpe", "gpt-2", "smollm", "deepseek-v3", "deepseek-llm", "tekken", "gpt-4o")
EXTRA_TURN_ENDS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


class NotConvertible(Invalid):
    """llama.cpp cannot serve this model as it is."""

    code = "serving.not_convertible"


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer consists of."""

    #: Token text by id, in the byte-level alphabet; holes are filled.
    tokens: list[str]
    types: list[int]
    merges: list[str]
    #: Ids by their name in GGUF, such as `bos`.
    special_ids: Mapping[str, int]
    #: Ids beyond eos that end an answer.
    turn_ends: tuple[int, ...]
    adds_bos: bool
    template: str | None
    #: The tokenizer's own pre-tokenizer, as JSON.
    pre_tokenizer: str

    def suggestions(self) -> list[str]:
        """Return llama.cpp's pre-tokenizers, the likeliest first."""
        hints = {
            "llama-bpe": "{1,3}",
            "smollm": '"Digits"',
            "qwen2": r"\\p{N}|",
            "gpt-2": '"use_regex": true',
        }
        likely = [name for name, hint in hints.items() if hint in self.pre_tokenizer]
        return [*likely, *(name for name in PRE_TOKENIZERS if name not in likely)]

    def write(self, writer: GGUFWriter, pre: str) -> None:
        """Add everything to a GGUF file's metadata; `pre` is llama.cpp's name of the pre-tokenizer."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        for name, number in self.special_ids.items():
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
        for key, number in zip(EXTRA_TURN_ENDS, self.turn_ends, strict=False):
            writer.add_uint32(key, number)
        writer.add_add_bos_token(self.adds_bos)  # llama.cpp's own default differs by pre-tokenizer
        writer.add_add_eos_token(False)
        if self.template is not None:
            writer.add_chat_template(self.template)


def read_vocabulary(folder: Path, size: int, template: str | None) -> Vocabulary:
    """Read a folder's tokenizer for `size` embeddings; raises `NotConvertible` naming what is in the way.

    `template` is the chat template's text.
    """
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    config = _json(folder / "tokenizer_config.json")
    model = tokenizer["model"]
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        raise NotConvertible("Its tokenizer is not byte-level BPE, the only kind that is converted.")
    _check_byte_level(tokenizer)
    ids: dict[str, int] = dict(model["vocab"])
    added = {entry["content"]: entry for entry in tokenizer.get("added_tokens", [])}
    ids |= {content: entry["id"] for content, entry in added.items()}
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, number in ids.items():
        if number >= size:
            raise NotConvertible(
                f"Its tokenizer knows the token id {number}, and the model has only {size} embeddings."
            )
        tokens[number] = token
        types[number] = int(_type(added.get(token)))
    special = {name: _content(config.get(f"{name}_token")) for name in ("bos", "eos", "unk", "pad")}
    special_ids = {
        {"unk": "unknown", "pad": "padding"}.get(name, name): ids[token]
        for name, token in special.items()
        if token in ids
    }
    ends = [number for number in _turn_ends(folder) if number != special_ids.get("eos")]
    if len(ends) > len(EXTRA_TURN_ENDS):
        raise NotConvertible(f"It ends answers by {len(ends) + 1} different tokens; llama.cpp’s files name three.")
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=[_merge(pair) for pair in model["merges"]],
        special_ids=special_ids,
        turn_ends=tuple(ends),
        adds_bos=bool(config.get("add_bos_token", False)),
        template=template,
        pre_tokenizer=json.dumps(tokenizer.get("pre_tokenizer")),
    )


def _check_byte_level(tokenizer: Mapping[str, Any]) -> None:
    steps = list(_steps(tokenizer.get("pre_tokenizer")))
    levels = [step for step in steps if step["type"] == "ByteLevel"]
    if not levels:
        raise NotConvertible(
            "Its tokenizer has no byte-level pre-tokenizer, and llama.cpp would split texts otherwise."
        )
    if any(step.get("add_prefix_space") for step in levels):
        raise NotConvertible("Its tokenizer puts a space before every text, which llama.cpp does not.")
    normalizers = [step["type"] for step in _steps(tokenizer.get("normalizer"))]
    if unknown := [name for name in normalizers if name != "NFC"]:
        raise NotConvertible(f"Its tokenizer normalises texts by {', '.join(unknown)}, which llama.cpp does not.")


def _steps(step: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if step is None:
        return
    if step["type"] == "Sequence":
        for inner in step.get("pretokenizers", step.get("normalizers", [])):
            yield from _steps(inner)
    else:
        yield step


def _type(added: Mapping[str, Any] | None) -> TokenType:
    if added is None:
        return TokenType.NORMAL
    return TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED


def _merge(pair: str | list[str]) -> str:
    """Return a merge as `a b`; a literal space inside a piece is written as the byte-level alphabet writes it."""
    pieces = pair.split(" ") if isinstance(pair, str) else pair
    return " ".join(piece.replace(" ", chr(288)) for piece in pieces)


def _content(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _turn_ends(folder: Path) -> list[int]:
    ends = _json(folder / "generation_config.json").get("eos_token_id")
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}
