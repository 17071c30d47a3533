"""A table of any length: the browser asks for the rows that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Fetch = Callable[[int, int], Sequence[dict[str, Any]]]

MOST_ROWS = 200  # a request


class Grid(Element):
    """Shows `total` rows; `fetch(offset, limit)` returns some of them as dicts by column key.

    Columns are `{"key", "label", "width"}`, where the width is one CSS grid track such as `1fr`.
    """

    section = "grid"
    _esm = module("grid")
    _css = style("grid")

    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    edition = traitlets.Int().tag(sync=True)
    trouble = traitlets.Unicode().tag(sync=True)

    def __init__(self, columns: Sequence[dict[str, str]], *, language: Language | None = None) -> None:
        super().__init__(language, columns=list(columns))
        self._fetch: Fetch = lambda offset, limit: []

    def show(self, total: int, fetch: Fetch) -> None:
        """Show other rows from now on."""
        self._fetch = fetch
        with self.hold_trait_notifications():
            self.total, self.trouble, self.edition = total, "", self.edition + 1

    def on_rows(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer the browser with the rows it asked for."""
        if message["edition"] != self.edition:
            return
        offset, limit = max(0, int(message["offset"])), min(MOST_ROWS, int(message["limit"]))
        try:
            rows = [dict(row) for row in self._fetch(offset, limit)]
        except WorkbenchError as error:
            self.trouble = self.explained(error)
        else:
            self.send({"type": "rows", "offset": offset, "rows": rows, "edition": self.edition})
