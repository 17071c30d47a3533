"""Buttons that hand files to the browser, which saves them where it saves what it downloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.routes import Download
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style


class DownloadBar(Element):
    """One button a file, given as pairs of name and label; `fetch(name)` brings the file when it is pressed."""

    section = "download"
    _esm = module("download")
    _css = style("download")

    files: Any = traitlets.List().tag(sync=True)
    trouble = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, files: Sequence[tuple[str, str]], fetch: Callable[[str], Download], *, language: Language | None = None
    ) -> None:
        super().__init__(language, files=[list(file) for file in files])
        self._fetch = fetch

    def on_fetch(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Send the file whose button was pressed."""
        name = str(message["name"])
        if name not in (known for known, _ in self.files):
            return
        try:
            file = self._fetch(name)
        except WorkbenchError as error:
            self.trouble = self.explained(error)
            return
        self.trouble = ""
        content = {"type": "file", "filename": file.filename, "content_type": file.content_type}
        self.send(content, buffers=[file.content])
