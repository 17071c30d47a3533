"""One of several, in a list that opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Options = Sequence[tuple[str, str]]


class Choice(Element):
    """Asks for one of the options, which are pairs of value and label; `on_choice(value)` hears of it."""

    section = "choice"
    _esm = module("choice")
    _css = style("choice")

    label = traitlets.Unicode().tag(sync=True)
    options: Any = traitlets.List().tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, label: str, options: Options, on_choice: Callable[[str], None], *, language: Language | None = None
    ) -> None:
        value = options[0][0] if options else ""
        super().__init__(language, label=label, options=[list(option) for option in options], value=value)
        self.observe(lambda change: on_choice(change["new"]), "value")

    def offer(self, options: Options, value: str) -> None:
        """Show other options, with `value` chosen."""
        self.options = [list(option) for option in options]
        self.value = value
