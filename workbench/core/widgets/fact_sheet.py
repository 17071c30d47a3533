"""Names and values, such as what is known of a model."""

from __future__ import annotations

from typing import Any

import traitlets

from workbench.core.widgets.element import Element, module, style


class FactSheet(Element):
    """Shows facts; each is a name, a value and whether the value is an identifier."""

    section = "facts"
    _esm = module("fact_sheet")
    _css = style("fact_sheet")

    facts: Any = traitlets.List().tag(sync=True)
