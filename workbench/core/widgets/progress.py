"""How far a job is: state, steps, times, why it waits or failed, and its buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Action = Callable[[], None]


class Progress(Element):
    """Shows a job. Times are seconds, negative when unknown; `figures` are pairs of label and value."""

    section = "progress"
    _esm = module("progress")
    _css = style("progress", "badge")

    state = traitlets.Unicode("queued").tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    elapsed = traitlets.Float(-1.0).tag(sync=True)
    remaining = traitlets.Float(-1.0).tag(sync=True)
    figures: Any = traitlets.List().tag(sync=True)
    reason = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    #: what is wrong with the connection to the server, if anything
    connection = traitlets.Unicode().tag(sync=True)
    can_cancel = traitlets.Bool(False).tag(sync=True)
    can_resume = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, *, cancel: Action | None = None, resume: Action | None = None, language: Language | None = None
    ) -> None:
        super().__init__(language)
        self._cancel = cancel
        self._resume = resume

    def on_cancel(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The user wants the job to stop."""
        self._try(self._cancel)

    def on_resume(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The user wants the job to go on from its last checkpoint."""
        self._try(self._resume)

    def _try(self, action: Action | None) -> None:
        if action is None:
            return
        try:
            action()
        except WorkbenchError as error:
            self.error = self.explained(error)
