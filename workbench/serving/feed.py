"""The live stream of a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from workbench.core.context import StreamContext
from workbench.serving import service
from workbench.serving.schemas import ENDED, Deployment

POLL_INTERVAL = 0.25  # seconds between two looks at the worker's file


async def follow(context: StreamContext, deployment_id: str) -> AsyncIterator[Deployment]:
    """Yield the deployment, and again whenever it has changed, until it has ended."""
    with context.bus.subscribe(f"job:{deployment_id}") as mailbox:
        shown: Deployment | None = None
        while shown is None or shown.phase not in ENDED:
            found = await asyncio.to_thread(_show, context, deployment_id)
            if found != shown:
                yield found
            shown = found
            if shown.phase not in ENDED:
                await mailbox.wait(POLL_INTERVAL)


def _show(context: StreamContext, deployment_id: str) -> Deployment:
    with context.read() as reading:
        return service.show(reading, deployment_id)
