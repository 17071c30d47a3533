"""The points of a run by metric, and how many of them are worth drawing. It knows no chart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWN_POINTS = 2_000


class Series:
    """One value a metric and step; a later value for the same step wins."""

    def __init__(self) -> None:
        self._metrics: dict[str, dict[int, float]] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add what was measured at a step."""
        for name, value in values.items():
            self._metrics.setdefault(name, {})[step] = value

    def rewind(self, step: int) -> None:
        """Forget all that came after a step, because the run goes on from there."""
        for name, points in self._metrics.items():
            self._metrics[name] = {at: value for at, value in points.items() if at <= step}

    def clear(self) -> None:
        """Forget everything."""
        self._metrics.clear()

    @property
    def names(self) -> list[str]:
        """Metrics that have points, in the order in which they appeared."""
        return [name for name, points in self._metrics.items() if points]

    def last(self, name: str) -> float | None:
        """Return the newest value of a metric."""
        points = self._metrics.get(name)
        return next(reversed(points.values())) if points else None

    def arrays(self, name: str) -> tuple[Array, Array]:
        """Return steps and values, in the order of steps."""
        points = self._metrics.get(name, {})
        steps = np.fromiter(points.keys(), np.float64, len(points))
        values = np.fromiter(points.values(), np.float64, len(points))
        order = np.argsort(steps, kind="stable")
        return steps[order], values[order]


def thin(steps: Array, values: Array, limit: int = DRAWN_POINTS) -> tuple[Array, Array]:
    """Keep the first, the last, and the lowest and highest point of each of equal stretches, `limit` points at most."""
    count = len(steps)
    if count <= limit:
        return steps, values
    stretches = (limit - 2) // 2
    edges = np.linspace(1, count - 1, stretches + 1).astype(int)
    lows = [start + int(np.argmin(values[start:end])) for start, end in pairwise(edges)]
    highs = [start + int(np.argmax(values[start:end])) for start, end in pairwise(edges)]
    kept = np.unique(np.array([0, *lows, *highs, count - 1]))
    return steps[kept], values[kept]
