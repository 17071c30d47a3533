"""The words of the panels, one JSON file a language with the same keys and placeholders."""

from __future__ import annotations

import json
import locale
import os
from functools import cache
from importlib import resources
from typing import Literal

Language = Literal["en", "zh-CN"]
LANGUAGES: tuple[Language, ...] = ("en", "zh-CN")


def text(key: str, language: Language | None = None, **values: object) -> str:
    """Return the text of `key` with its placeholders filled in; an unknown key is a KeyError."""
    return catalogue(language or preferred_language())[key].format(**values)


def preferred_language() -> Language:
    """Return the language set by `WORKBENCH_LANGUAGE`, or the system's."""
    wish = os.environ.get("WORKBENCH_LANGUAGE") or locale.getlocale()[0] or "en"
    return "zh-CN" if wish.lower().startswith("zh") else "en"


@cache
def catalogue(language: Language) -> dict[str, str]:
    """Return every text of a language by key."""
    content = resources.files(__name__).joinpath(f"{language}.json").read_text("utf8")
    return dict(json.loads(content))
