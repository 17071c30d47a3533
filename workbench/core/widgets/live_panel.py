"""A panel that keeps itself up to date."""

from __future__ import annotations

import threading
from typing import ClassVar

import ipywidgets

from workbench.core.errors import WorkbenchError
from workbench.core.widgets.heading import Heading


class LivePanel(ipywidgets.VBox):  # type: ignore[misc]
    """A heading and what is below it, asked for anew every `INTERVAL` until the panel is closed.

    The heading says what went wrong at the last look, and that the panel is up to date again by saying nothing.
    """

    INTERVAL: ClassVar[float] = 2.0  # seconds between two looks at the server

    def __init__(self, heading: Heading, *widgets: ipywidgets.Widget) -> None:
        self.heading = heading
        self._closed = threading.Event()
        super().__init__([heading, *widgets])
        self.add_class("wb-panel")

    def refresh(self) -> None:
        """Ask the server, and show what it answers."""
        raise NotImplementedError

    def keep_fresh(self) -> None:
        """Begin to look, in a thread of the panel's own."""
        threading.Thread(target=self._look_again, name=type(self).__name__, daemon=True).start()

    def close(self) -> None:
        """Stop asking and remove the widgets; what they showed goes on.

        A box goes before what it holds: an open box with a closed child keeps a page from loading any widget.
        """
        self._closed.set()
        widgets = self.children
        super().close()
        for widget in widgets:
            widget.close()

    def _look_again(self) -> None:
        while not self._closed.wait(self.INTERVAL):
            try:
                self.refresh()
                self.heading.note = ""
            except WorkbenchError as error:
                self.heading.note = self.heading.explained(error)
