"""What runs and what waits, in the order in which it starts, which people change by mouse or keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Entry = dict[str, Any]


class QueueList(Element):
    """A list of jobs; `on_move(id, before)` and `on_cancel(id)` hear what the reader wants.

    An entry has texts by key (`id`, `title`, `state`, `state_word`, `place`, `detail`, `reason`) and says whether it is
    `movable` and `cancellable`. A job moves only past movable ones; `before` is None for the end.
    """

    section = "queue"
    _esm = module("queue_list")
    _css = style("queue_list", "badge")

    entries = traitlets.List(traitlets.Dict()).tag(sync=True)
    #: Whether more jobs wait behind those that are shown.
    cut = traitlets.Bool(False).tag(sync=True)
    #: What went wrong at the last wish.
    error = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        on_move: Callable[[str, str | None], None],
        on_cancel: Callable[[str], None],
        *,
        language: Language | None = None,
    ) -> None:
        super().__init__(language)
        self._move = on_move
        self._cancel = on_cancel

    def offer(self, entries: Sequence[Entry], *, cut: bool) -> None:
        """Show these jobs, of a line that goes on behind them when it is `cut`."""
        with self.hold_sync():
            self.cut = cut
            if self.entries != list(entries):
                self.entries = list(entries)

    def on_move(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The reader wants a job to start before another, or last."""
        self._try(lambda: self._move(message["id"], message["before"]))
        self.send({"type": "moved", "wish": message.get("wish")})

    def on_cancel(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The reader wants a job not to run, or to stop."""
        self._try(lambda: self._cancel(message["id"]))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
            self.error = ""
        except WorkbenchError as error:
            self.error = self.explained(error)
