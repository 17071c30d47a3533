"""What all widgets share: their words, their look, and messages by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import anywidget
import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language, catalogue, explain, preferred_language

FOLDER = Path(__file__).parent


def module(name: str) -> str:
    """Return a widget's ES module, behind the few functions that all of them use."""
    return "\n".join((FOLDER / file).read_text("utf8") for file in ("dom.js", f"{name}.js"))


def style(*names: str) -> str:
    """Return a widget's style sheets, behind the colours that follow the theme."""
    return "\n".join((FOLDER / f"{name}.css").read_text("utf8") for name in ("theme", *names))


def words(section: str, language: Language) -> dict[str, str]:
    """Return the texts of one section by the rest of their keys."""
    prefix = f"{section}."
    return {key.removeprefix(prefix): text for key, text in catalogue(language).items() if key.startswith(prefix)}


class Element(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget with words in one language, whose browser side talks to methods named `on_<type>`."""

    #: the part of the texts that goes to the browser
    section: ClassVar[str]

    words = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode("en").tag(sync=True)

    def __init__(self, language: Language | None = None, **traits: Any) -> None:
        language = language or preferred_language()
        super().__init__(words=words(self.section, language), language=language, **traits)
        self._ready: list[Callable[[], None]] = []
        self.on_msg(self._receive)

    def when_ready(self, action: Callable[[], None]) -> None:
        """Call `action` each time a browser has drawn this widget, such as after a reload."""
        self._ready.append(action)

    def on_ready(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """A browser has drawn this widget."""
        for action in self._ready:
            action()

    def explained(self, error: WorkbenchError) -> str:
        """Return an error's sentence in this widget's language."""
        return explain(error.problem().code, error.detail, cast(Language, self.language))

    def _receive(self, widget: Any, message: dict[str, Any], buffers: list[memoryview]) -> None:
        handler = getattr(self, f"on_{message.get('type')}", None)
        if handler is not None:
            handler(message, buffers)
