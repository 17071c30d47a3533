"""A heading with a line of text below it."""

from __future__ import annotations

import traitlets

from workbench.core.widgets.element import Element, module, style


class Heading(Element):
    """The title of a panel, and a note that changes with its content."""

    section = "heading"
    _esm = module("heading")
    _css = style("heading")

    title = traitlets.Unicode().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
