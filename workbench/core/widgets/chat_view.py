"""A chat: conversations beside the thread, a composer below it. It shows what it is given and says what was pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import traitlets

from workbench.core.routes import Download
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Action = Callable[[dict[str, Any]], None]


class ChatView(Element):
    """Shows conversations, models and a thread; what is pressed reaches `act` by its name with what belongs to it.

    A message is `{"id", "role", "html", "text", "meta", "trouble", "place", "count"}`: `html` must be safe already,
    `place` of `count` tells which of several answers it is. A model is `{"id", "label", "ready", "note"}`.
    """

    section = "chat"
    _esm = module("chat_view")
    _css = style("chat_view")

    #: What the browser may ask for.
    ACTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            *("say", "stop", "again", "edit", "turn", "open", "fresh", "remove", "find"),
            *("use", "deploy", "end", "configure", "export"),
        }
    )

    models = traitlets.List(traitlets.Dict()).tag(sync=True)
    model = traitlets.Unicode().tag(sync=True)
    #: Pairs of id and label of what can be deployed; empty for who may not.
    deployable: Any = traitlets.List().tag(sync=True)
    conversations = traitlets.List(traitlets.Dict()).tag(sync=True)
    conversation = traitlets.Unicode().tag(sync=True)
    messages = traitlets.List(traitlets.Dict()).tag(sync=True)
    #: The answer that is coming, as a message; empty when none is.
    answer = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    notice = traitlets.Unicode().tag(sync=True)
    fields = traitlets.List(traitlets.Dict()).tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    errors = traitlets.Dict().tag(sync=True)
    #: Python that asks the same.
    snippet = traitlets.Unicode().tag(sync=True)

    def __init__(self, act: dict[str, Action], *, language: Language | None = None) -> None:
        super().__init__(language)
        self._act = act

    def save(self, file: Download) -> None:
        """Let the browser save a file."""
        content = {"type": "file", "filename": file.filename, "content_type": file.content_type}
        self.send(content, buffers=[file.content])

    def _receive(self, widget: Any, message: dict[str, Any], buffers: list[memoryview]) -> None:
        super()._receive(widget, message, buffers)
        kind = message.get("type")
        if kind in self.ACTIONS and kind in self._act:
            self._act[kind](message)
