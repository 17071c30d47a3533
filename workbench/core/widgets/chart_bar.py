"""The bar above a chart: it chooses the metric, and makes the chart as wide as its place."""

from __future__ import annotations

from workbench.core.widgets.choice import Choice
from workbench.core.widgets.element import module


class ChartBar(Choice):
    """A choice that stands in a box of class `wb-chart-box` together with its chart.

    plotly looks at its width only when the window changes; here the box is watched, so that a chart which was drawn
    out of sight, or whose sidebar was opened, fits.
    """

    _esm = module("chart_bar")
