"""A short list of things, of which one can be chosen by mouse or keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Row = dict[str, Any]


class Listing(Element):
    """Shows rows as a table; `on_choice(id)` hears which row was chosen.

    A column is `{"key", "label"}` and may have `number`, `time` (an RFC 3339 time, shown in the reader's zone), `minor`
    (hidden on a phone) and `badge` (the key of a job's state, which colours the cell); a row is a dict of texts by
    key, with its `id`.
    """

    section = "listing"
    _esm = module("listing")
    _css = style("listing", "badge")

    label = traitlets.Unicode().tag(sync=True)
    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)
    #: What stands there when there are no rows.
    empty = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        label: str,
        columns: Sequence[dict[str, Any]],
        on_choice: Callable[[str], None],
        *,
        empty: str = "",
        language: Language | None = None,
    ) -> None:
        super().__init__(language, label=label, columns=list(columns), empty=empty)
        self.observe(lambda change: on_choice(change["new"]), "value")

    def offer(self, rows: Sequence[Row]) -> None:
        """Show these rows; what was chosen stays chosen."""
        if self.rows != list(rows):
            self.rows = list(rows)
