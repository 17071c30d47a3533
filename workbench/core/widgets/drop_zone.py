"""A place to drop a file: it arrives in pieces over the widget's own channel and is handed on as a file on disk."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

log = logging.getLogger(__name__)

NAME_BYTES = 180


@dataclass
class Transfer:
    """A file on its way from the browser; `folder` removes itself with this object."""

    id: str
    filename: str
    size: int
    received: int = 0
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="workbench-")
    )

    @property
    def path(self) -> Path:
        """Where the file is written."""
        return Path(self.folder.name) / self.filename

    def append(self, piece: memoryview) -> None:
        """Write the next piece."""
        with self.path.open("ab") as file:
            file.write(piece)
        self.received += len(piece)


class DropZone(Element):
    """Takes one file after another. `take(path, filename)` runs in a thread; what it raises is shown here.

    The file stays on disk until the next one starts or `discard` is called.
    """

    section = "drop"
    _esm = module("drop_zone")
    _css = style("drop_zone")

    accept = traitlets.Unicode().tag(sync=True)
    state = traitlets.Enum(["idle", "receiving", "working", "failed"], "idle").tag(sync=True)
    sender = traitlets.Unicode().tag(sync=True)
    filename = traitlets.Unicode().tag(sync=True)
    size = traitlets.Int().tag(sync=True)
    received = traitlets.Int().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, take: Callable[[Path, str], None], *, accept: str = "", language: Language | None = None
    ) -> None:
        super().__init__(language, accept=accept)
        self._take = take
        self._transfer: Transfer | None = None

    def fail(self, sentence: str) -> None:
        """Show what went wrong and be ready for another file."""
        self.set_trait("message", sentence)
        self.set_trait("state", "failed")

    def discard(self) -> None:
        """Remove the file that was received last."""
        if self._transfer is not None:
            self._transfer.folder.cleanup()
            self._transfer = None

    def on_start(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The browser is about to send a file."""
        if self.state in ("receiving", "working"):
            return
        self.discard()
        transfer = Transfer(message["transfer"], _safe(str(message["filename"])), int(message["size"]))
        self._transfer = transfer
        self.filename, self.size, self.received, self.message = transfer.filename, transfer.size, 0, ""
        self.sender, self.state = str(message["sender"]), "receiving"
        self._go_on(transfer, memoryview(b""))

    def on_chunk(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """A piece has come; anything but the expected one is passed over."""
        transfer = self._transfer
        expected = transfer is not None and (message["transfer"], message["offset"]) == (transfer.id, transfer.received)
        if transfer is not None and expected and self.state == "receiving":
            self._go_on(transfer, buffers[0])

    def on_cancel(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The user does not want this file any more."""
        if self.state == "receiving":
            self.discard()
            self.message, self.state = self.words["cancelled"], "idle"

    def on_interrupted(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The page that was sending is gone."""
        self._abandon("interrupted")

    def on_unreadable(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """The browser could not read the file any more."""
        self._abandon("unreadable")

    def _abandon(self, reason: str) -> None:
        if self.state == "receiving":
            self.discard()
            self.fail(self.words[reason].format(file=self.filename))

    def _go_on(self, transfer: Transfer, piece: memoryview) -> None:
        try:
            transfer.append(piece)
        except OSError as error:
            self.discard()
            self.fail(self.words["unwritable"].format(reason=error.strerror or error))
            return
        self.received = transfer.received
        self.send({"type": "received", "transfer": transfer.id, "offset": transfer.received})
        if transfer.received >= transfer.size:
            self.state = "working"
            threading.Thread(target=self._finish, args=(transfer,), name="workbench-upload", daemon=True).start()

    def _finish(self, transfer: Transfer) -> None:
        try:
            self._take(transfer.path, transfer.filename)
        except WorkbenchError as error:
            self.fail(self.explained(error))
        except Exception as error:
            log.exception("The upload of %s failed", transfer.filename)
            self.fail(self.words["broken"].format(reason=f"{type(error).__name__}: {error}"))
        else:
            self.state = "idle"


def _safe(filename: str) -> str:
    name = PurePosixPath(filename.replace("\\", "/").replace("\0", "")).name
    path = PurePosixPath(name if name not in ("", "..") else "file")
    return path.stem.encode()[:NAME_BYTES].decode(errors="ignore") + path.suffix[:16]
