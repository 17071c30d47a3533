"""A row as the model sees it: its tokens as text, those that are trained marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style


@dataclass(frozen=True)
class TokenRow:
    """One row to show."""

    #: Pairs of text and whether it is trained.
    spans: list[tuple[str, bool]]
    total: int
    #: What else is worth knowing, in words.
    facts: str


class TokenView(Element):
    """Shows one row at a time when it is asked to; `fetch(row)` returns the row of that number, from 0."""

    section = "tokens"
    _esm = module("token_view")
    _css = style("token_view")

    spans = traitlets.List(traitlets.Dict()).tag(sync=True)
    row = traitlets.Int().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    facts = traitlets.Unicode().tag(sync=True)
    trouble = traitlets.Unicode().tag(sync=True)
    is_open = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)

    def __init__(self, fetch: Callable[[int], TokenRow], *, language: Language | None = None) -> None:
        super().__init__(language)
        self._fetch = fetch

    def on_show(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Show the first row."""
        self._show(0)

    def on_turn(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Show the row before or after."""
        self._show(min(max(0, self.row + int(message["step"])), max(0, self.total - 1)))

    def on_close(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Show nothing."""
        self.is_open = False

    def _show(self, row: int) -> None:
        if self.busy or self.locked:
            return
        self.busy, self.trouble = True, ""
        try:
            found = self._fetch(row)
        except WorkbenchError as error:
            self.trouble = self.explained(error)
        else:
            with self.hold_sync():
                self.spans = [{"text": text, "trained": trained} for text, trained in found.spans]
                self.row, self.total, self.facts, self.is_open = row, found.total, found.facts, True
        finally:
            self.busy = False
