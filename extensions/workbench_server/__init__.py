"""The Jupyter Server extension: identity, handlers, WebSockets and the agent's keeper."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from workbench_server.app import WorkbenchServer

    return [{"module": "workbench_server", "app": WorkbenchServer}]
