"""A live line chart. Importing this module imports plotly, so panels do it when they need the first chart."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from workbench.core.widgets.element import style
from workbench.core.widgets.series import Array, thin

HEIGHT = 320  # pixels
MARGIN = {"l": 60, "r": 16, "t": 12, "b": 44}


def _figure(x_label: str) -> go.Figure:
    line = go.Scatter(x=[], y=[], mode="lines+markers", line={"width": 2, "color": "#1f8dd6"}, marker={"size": 4})
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "linecolor": "rgba(128,128,128,0.6)", "zeroline": False}
    layout = {
        "height": HEIGHT,
        "margin": MARGIN,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#808080"},
        "hovermode": "x",
        "showlegend": False,
        "xaxis": {**axis, "title": {"text": x_label}, "rangemode": "tozero"},
        "yaxis": {**axis, "title": {"text": ""}, "exponentformat": "e"},
        "uirevision": "kept",
    }
    return go.Figure(line, layout)


class LiveChart(go.FigureWidget):  # type: ignore[misc]
    """One metric over the steps of a run.

    plotly sends changes to the pages that are open and keeps its synchronised state as it was built; here that state
    moves along, so that a page which is loaded later, or again, shows each point once.
    """

    _css = style("chart")

    def __init__(self, x_label: str) -> None:
        super().__init__(_figure(x_label))
        self._config = {"displaylogo": False, "displayModeBar": "hover", "responsive": True}
        self.add_class("wb-chart")

    def draw(self, name: str, steps: Array, values: Array) -> None:
        """Show these points and no others."""
        x, y = thin(steps, values)
        with self.batch_update():
            self.data[0].update(x=x, y=y)
            self.layout.yaxis.title.text = name
        self._synchronise()

    def push(self) -> None:
        """Send everything again, to a page that may have missed something."""
        trace: dict[str, Any] = self._data[0]
        self._synchronise()
        self._send_restyle_msg({"x": [trace.get("x", [])], "y": [trace.get("y", [])]}, [0])

    def _synchronise(self) -> None:
        self._widget_data = [dict(trace) for trace in self._data]
        self._widget_layout = dict(self._layout_obj._props)
