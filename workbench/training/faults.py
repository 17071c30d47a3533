"""Points where a test can kill the worker: `WORKBENCH_FAULT=step:12` or `checkpoint:8:files` means SIGKILL there.

The places inside a checkpoint are `weights`, `files` and `manifest`: what has just been written. `model` lies after
the last step, before the model is saved.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "WORKBENCH_FAULT"


def reach(point: str) -> None:
    """Die here, unannounced, if the environment names this point."""
    if os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)
