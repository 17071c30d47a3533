"""From what people and models say about sampling to the one complete set of settings that an engine is given."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.chat.schemas import ChatSettings
from workbench.serving.engines import Sampling
from workbench.serving.rendering import DEFAULT_MAX_TOKENS

KEPT_DEFAULTS = 64


@lru_cache(maxsize=KEPT_DEFAULTS)
def defaults_of(folder: Path) -> ChatSettings:
    """Return what a model's own generation_config.json says; what it does not say or says wrongly is left open."""
    try:
        said = dict(json.loads((folder / "generation_config.json").read_bytes()))
    except (FileNotFoundError, ValueError):
        return ChatSettings()
    if said.get("do_sample") is False:
        return ChatSettings()
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    given = {name: said[name] for name in names if isinstance(said.get(name), int | float)}
    return ChatSettings.model_validate(given) if _is_valid(given) else ChatSettings()


def settled(*layers: ChatSettings) -> ChatSettings:
    """Return settings of which each comes from the first layer that has it."""
    names = ChatSettings.model_fields
    values: dict[str, Any] = {}
    for name in names:
        values[name] = next((found for layer in layers if (found := getattr(layer, name)) is not None), None)
    return ChatSettings.model_validate(values)


def sampling(settings: ChatSettings, room: int) -> Sampling:
    """Return complete settings; the answer gets no more than the `room` tokens that are left."""

    def or_else(value: Any, default: Any) -> Any:
        return default if value is None else value

    return Sampling(
        temperature=or_else(settings.temperature, 1.0),
        top_p=or_else(settings.top_p, 1.0),
        top_k=or_else(settings.top_k, 0),
        min_p=or_else(settings.min_p, 0.0),
        max_tokens=max(1, min(or_else(settings.max_tokens, DEFAULT_MAX_TOKENS), room)),
        repetition_penalty=or_else(settings.repetition_penalty, 1.0),
        presence_penalty=or_else(settings.presence_penalty, 0.0),
        frequency_penalty=or_else(settings.frequency_penalty, 0.0),
        seed=settings.seed,
    )


def _is_valid(given: dict[str, Any]) -> bool:
    try:
        ChatSettings.model_validate(given)
    except ValueError:
        return False
    return True
