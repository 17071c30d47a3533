"""Keeps an agent running beside the server when it is of the embedded kind."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys

from workbench.core.environment import scrubbed
from workbench.core.settings import Settings
from workbench.jobs.agent import agent_is_up

CHECK_INTERVAL = 1.0  # seconds between two looks at the agent's lock

logger = logging.getLogger(__name__)


class AgentKeeper:
    """Starts the home's agent when none holds its lock; never ends one: jobs outlive the server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Look after the agent until cancelled."""
        while True:
            if self._started is not None:
                self._started.poll()
            if not await asyncio.to_thread(agent_is_up, self._settings.home) and self._may_start():
                self._started = start_agent(self._settings)
            await asyncio.sleep(CHECK_INTERVAL)

    def _may_start(self) -> bool:
        return self._started is None or self._started.returncode is not None


def start_agent(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the home's agent in a session of its own, with a scrubbed environment; its log is `agent.log`."""
    names = ("WORKBENCH_DATABASE_URL", "WORKBENCH_CPUS", "WORKBENCH_GPUS", "WORKBENCH_AGENT_IDLE_SECONDS")
    variables = {name: os.environ[name] for name in names if name in os.environ}
    with (settings.home / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "workbench", "agent", "--home", str(settings.home)],
            env=scrubbed(variables),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
