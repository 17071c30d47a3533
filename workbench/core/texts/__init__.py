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


def explain(code: str | None, detail: str, language: Language) -> str:
    """Return an error's sentence as a panel shows it: in Chinese what its code means, and the server's own words.

    Codes of no text, such as those of a newer server, leave the server's words alone.
    """
    meaning = meanings().get(code or "") if language == "zh-CN" else None
    return f"{meaning}（{detail}）" if meaning is not None else detail


@cache
def meanings() -> dict[str, str]:
    """Return what each stable error code means, in Chinese; the server speaks English."""
    return dict(json.loads(resources.files(__name__).joinpath("errors.zh-CN.json").read_text("utf8")))


@cache
def catalogue(language: Language) -> dict[str, str]:
    """Return every text of a language by key."""
    content = resources.files(__name__).joinpath(f"{language}.json").read_text("utf8")
    return dict(json.loads(content))
