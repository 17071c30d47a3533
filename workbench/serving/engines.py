"""What an engine is to the gateway: where it listens, what it is asked, and what it answers. Knows no model library."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.core.errors import Invalid, Unavailable
from workbench.serving.schemas import EngineName

Finish = Literal["stop", "length"]
Message = Mapping[str, str]


class UnsupportedByEngine(Invalid):
    """The engine of this deployment cannot do what was asked."""

    code = "serving.unsupported_by_engine"


class EngineFailed(Unavailable):
    """The engine has broken off its answer."""

    code = "serving.engine_failed"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, complete: an engine's own defaults never count."""

    temperature: float
    top_p: float
    #: 0: all.
    top_k: int
    min_p: float
    max_tokens: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    #: None: another one each time.
    seed: int | None


@dataclass(frozen=True)
class Prompt:
    """What is asked: the same conversation as messages and as the very tokens that training gave for it."""

    messages: tuple[Message, ...]
    ids: list[int]


@dataclass(frozen=True)
class Piece:
    """Some more of an answer."""

    text: str
    #: Tokens of the answer so far; None where the engine does not say it.
    tokens: int | None = None
    finish: Finish | None = None
    #: Whether the answer's last token is one that ends it, and has no text.
    ended_by_token: bool = False


@dataclass(frozen=True)
class Engine:
    """A running engine with its renderer: their sockets, and the keys that open them."""

    name: EngineName
    socket: Path
    key: str
    #: Folder of the model, as the transformers engine knows it.
    model: str
    renderer: Path
    renderer_key: str

    @classmethod
    def read(cls, path: Path) -> Engine | None:
        """Read what the serve worker wrote down; None when no engine is up."""
        try:
            known = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        names = ("name", "socket", "key", "model", "renderer", "renderer_key")
        name, socket, key, model, renderer, renderer_key = (known[each] for each in names)
        return cls(name, Path(socket), key, model, Path(renderer), renderer_key)

    def record(self) -> dict[str, str]:
        """Return what `read` reads."""
        return {name: str(value) for name, value in asdict(self).items()}

    def request(self, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
        """Return path and body of a streamed request; raises `UnsupportedByEngine`."""
        return _REQUESTS[self.name](self, prompt, sampling)

    def piece(self, event: Mapping[str, Any]) -> Piece:
        """Read one event of the stream; raises `EngineFailed`."""
        if "error" in event:
            error = event["error"]
            detail = error.get("message") if isinstance(error, dict) else error
            raise EngineFailed(f"The engine has broken off its answer: {str(detail)[:300]}")
        return _PIECES[self.name](event)


def _ask_llama_cpp(engine: Engine, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    greedy = sampling.temperature == 0
    return "/completion", {
        "prompt": prompt.ids,
        "stream": True,
        "cache_prompt": True,
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_k": 1 if greedy else sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": 1.0,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": -1 if sampling.repetition_penalty != 1 else 0,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed if sampling.seed is not None else -1,
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
    }


def _read_llama_cpp(event: Mapping[str, Any]) -> Piece:
    text, tokens = event.get("content", ""), event.get("tokens_predicted")
    if not event.get("stop"):
        return Piece(text, tokens)
    kind = event.get("stop_type")
    return Piece(text, tokens, "length" if kind == "limit" else "stop", kind == "eos")


def _ask_transformers(engine: Engine, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) != 0:
            raise UnsupportedByEngine(f"The transformers engine has no {name}; leave it at 0.")
    chosen: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        chosen = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
        chosen |= {"top_k": sampling.top_k, "min_p": sampling.min_p or None}
    chosen |= {"max_new_tokens": sampling.max_tokens, "repetition_penalty": sampling.repetition_penalty}
    body = {
        "model": engine.model,
        "messages": [dict(message) for message in prompt.messages],
        "stream": True,
        "generation_config": json.dumps(chosen),
    }
    return "/v1/chat/completions", body | ({"seed": sampling.seed} if sampling.seed is not None else {})


def _read_transformers(event: Mapping[str, Any]) -> Piece:
    choice = event["choices"][0] if event.get("choices") else {}
    text = (choice.get("delta") or {}).get("content") or ""
    usage = event.get("usage")
    finish = choice.get("finish_reason")
    if finish is None:
        return Piece(text)
    return Piece(text, usage["completion_tokens"] if usage else None, "length" if finish == "length" else "stop")


_REQUESTS: dict[EngineName, Callable[[Engine, Prompt, Sampling], tuple[str, dict[str, Any]]]] = {
    "llama.cpp": _ask_llama_cpp,
    "transformers": _ask_transformers,
}
_PIECES: dict[EngineName, Callable[[Mapping[str, Any]], Piece]] = {
    "llama.cpp": _read_llama_cpp,
    "transformers": _read_transformers,
}


def socket_path(folder: Path) -> Path:
    """Return the path of an attempt's socket: short, since the system takes 107 bytes, and its owner's alone.

    A socket that a killed engine left there is removed, since no engine starts on it.
    """
    base = Path(tempfile.gettempdir()) / f"workbench-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    about = base.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise EngineFailed(f"The folder {base} is not this user’s alone, so no engine can listen there; remove it.")
    path = base / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}.sock"
    path.unlink(missing_ok=True)
    return path
