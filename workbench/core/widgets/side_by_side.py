"""Two models beside each other: their scores, a verdict, and their answers to the same prompts."""

from __future__ import annotations

import traitlets

from workbench.core.widgets.element import Element, module, style


class SideBySide(Element):
    """Compares a base with a tuned model.

    A score is `{"label", "base", "tuned", "better": "base" | "tuned" | None}` with formatted values; a sample is
    `{"prompt", "expected", "base", "tuned", "base_right", "tuned_right"}`.
    """

    section = "compare"
    _esm = module("side_by_side")
    _css = style("side_by_side")

    scores = traitlets.List(traitlets.Dict()).tag(sync=True)
    verdict = traitlets.Unicode().tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)
    samples = traitlets.List(traitlets.Dict()).tag(sync=True)
