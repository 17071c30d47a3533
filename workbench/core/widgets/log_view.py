"""The tail of a log. It keeps a bounded piece, so that a page which is loaded again gets it back."""

from __future__ import annotations

import threading
from typing import Any

from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

KEPT_CHARACTERS = 200_000


class LogView(Element):
    """Shows text as it is appended; colour codes are left out."""

    section = "log"
    _esm = module("log_view")
    _css = style("log_view")

    def __init__(self, *, language: Language | None = None) -> None:
        super().__init__(language)
        self._lock = threading.Lock()
        self.text = ""
        self._start = 0

    def append(self, text: str) -> None:
        """Add text at the end."""
        if not text:
            return
        with self._lock:
            start = self._start + len(self.text)
            end = start + len(text)
            self.text = (self.text + text)[-KEPT_CHARACTERS:]
            self._start = end - len(self.text)
            self.send({"type": "text", "start": start, "end": end, "text": text})

    def clear(self) -> None:
        """Begin with another log."""
        with self._lock:
            self.text, self._start = "", 0
            self._send_all()

    def on_ready(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Send all that is kept to a page that has none of it, or missed a piece."""
        super().on_ready(message, buffers)
        with self._lock:
            self._send_all()

    def _send_all(self) -> None:
        end = self._start + len(self.text)
        self.send({"type": "text", "start": self._start, "end": end, "text": self.text, "reset": True})
