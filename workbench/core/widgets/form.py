"""A form whose refusals stand beside their fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language
from workbench.core.widgets.element import Element, module, style

Values = dict[str, str]


class Form(Element):
    """Asks for values and hands them on as they were typed; what `submit(values)` refuses is shown.

    A field is `{"name", "label", "kind": "text" | "number" | "choice"}` and may have `help`, `placeholder`,
    `options` (pairs of value and label), `suggestions`, `wide` and `more` (below the fold).
    """

    section = "form"
    _esm = module("form")
    _css = style("form")

    fields = traitlets.List(traitlets.Dict()).tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    errors = traitlets.Dict().tag(sync=True)
    notice = traitlets.Unicode().tag(sync=True)
    action = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        fields: Sequence[dict[str, Any]],
        submit: Callable[[Values], None],
        *,
        action: str,
        values: Values | None = None,
        language: Language | None = None,
    ) -> None:
        super().__init__(language, fields=list(fields), values=dict(values or {}), action=action)
        self._submit = submit

    def on_submit(self, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Hand the values on, unless the form is locked or busy with the last ones."""
        if self.busy or self.locked:
            return
        self.values = {name: str(value) for name, value in message["values"].items()}
        self.errors, self.notice, self.busy = {}, "", True
        try:
            self._submit(self.values)
        except WorkbenchError as error:
            self.refuse(error)
        finally:
            self.busy = False

    def refuse(self, error: WorkbenchError) -> None:
        """Show a refusal: what points at a field beside it, all else below the button."""
        names = [field["name"] for field in self.fields]
        found: Values = {}
        for problem in error.problem().errors:
            name = next((part for part in problem.pointer.split("/") if part in names), None)
            if name is not None:
                found.setdefault(name, problem.message)
        self.errors = found
        self.notice = "" if found else self.explained(error)
