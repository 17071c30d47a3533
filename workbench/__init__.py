"""Workbench: the Jupyter-native research workbench for language models.

`workbench.connect()` is the one entry: it finds the server and the credentials by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.session import Workbench, connect

__version__ = "0.1.0"
__all__ = ["Workbench", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name in ("Workbench", "connect"):
        return getattr(import_module("workbench.session"), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")
