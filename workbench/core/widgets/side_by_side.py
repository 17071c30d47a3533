"""Two models beside each other: their scores, a verdict, and their answers to the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

PAGE_ROWS = 20


@dataclass(frozen=True)
class Wish:
    """Which rows a browser wants to see."""

    filter: str = "all"
    search: str = ""
    sort: str = "row"
    offset: int = 0


@dataclass(frozen=True)
class Answers:
    """One page of rows, and how many rows there are by filter.

    A sample is `{"prompt", "expected"}` with `{side}`, `{side}_right` and `{side}_figures` for base and tuned.
    """

    samples: Sequence[dict[str, Any]]
    total: int
    counts: dict[str, int]


Fetch = Callable[[Wish], Answers]


class SideBySide(Element):
    """Compares a base with a tuned model; the browser asks for the rows that it shows.

    A score is `{"label", "base", "tuned", "difference", "verdict"}` with formatted values.
    """

    section = "compare"
    _esm = module("side_by_side")
    _css = style("side_by_side")

    scores = traitlets.List(traitlets.Dict()).tag(sync=True)
    verdict = traitlets.Unicode().tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)
    detail = traitlets.Unicode().tag(sync=True)
    samples = traitlets.List(traitlets.Dict()).tag(sync=True)
    filter = traitlets.Unicode("all").tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    sort = traitlets.Unicode("row").tag(sync=True)
    offset = traitlets.Int().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    counts = traitlets.Dict().tag(sync=True)
    page_rows = traitlets.Int(PAGE_ROWS).tag(sync=True)
    trouble = traitlets.Unicode().tag(sync=True)
    #: changes last, when everything else of a page is in place
    edition = traitlets.Int().tag(sync=True)

    def __init__(self, language: Language | None = None) -> None:
        super().__init__(language)
        self._fetch: Fetch = lambda wish: Answers([], 0, {})

    def show(self, fetch: Fetch) -> None:
        """Show other rows from now on, beginning with the first."""
        self._fetch = fetch
        self._show(Wish())

    def on_ask(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Show the rows that a browser wants to see."""
        texts = {name: str(message[name]) for name in ("filter", "search", "sort")}
        try:
            self._show(Wish(**texts, offset=max(0, int(message["offset"]))))
        except WorkbenchError as error:
            self.trouble = error.detail

    def _show(self, wish: Wish) -> None:
        found = self._fetch(wish)
        with self.hold_sync():
            self.filter, self.search, self.sort, self.offset = wish.filter, wish.search, wish.sort, wish.offset
            self.samples, self.total, self.counts = list(found.samples), found.total, found.counts
            self.trouble = ""
            self.edition += 1
