"""The worker's side of the live feed: JSON lines with a sequence number that goes on over all attempts of a job."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeGuard


class MetricsWriter:
    """Appends lines to metrics.jsonl. A job has one writer at a time."""

    def __init__(self, path: Path, last_seq: int) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._seq = last_seq

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, step: int, total_steps: int, values: Mapping[str, object]) -> None:
        """Append one point and flush it; values that are not finite numbers are left out."""
        self._seq += 1
        numbers = {name: float(value) for name, value in values.items() if is_finite(value)}
        line = {"seq": self._seq, "step": step, "at": time.time(), "total_steps": total_steps, "values": numbers}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
