"""Workbench: the Jupyter-native research workbench for language models.

`workbench.connect()` is the one entry: it finds the server and the credentials by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.session import Workbench, connect

__version__ = "0.1.0"
__all__ = ["Workbench", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name in ("Workbench", "connect"):
        from workbench import session

        return getattr(session, name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")
