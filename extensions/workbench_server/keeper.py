"""Keeps an agent running beside the server when it is of the embedded kind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys

from workbench.core.environment import scrubbed
from workbench.core.settings import Settings
from workbench.jobs.agent import agent_is_up
from workbench.jobs.files import live_servers, read_json
from workbench.jobs.processes import is_alive

#: Settings of the server that its agent shares.
VARIABLES = (
    "WORKBENCH_DATABASE_URL",
    "WORKBENCH_CPUS",
    "WORKBENCH_GPUS",
    "WORKBENCH_AGENT_IDLE_SECONDS",
    "WORKBENCH_BACKUP_HOURS",
    "WORKBENCH_BACKUP_KEEP",
    "WORKBENCH_BACKUP_FOLDER",
)
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
            try:
                await asyncio.to_thread(self._look)
            except Exception:
                logger.exception("The agent cannot be looked after; trying again")
            await asyncio.sleep(CHECK_INTERVAL)

    def _look(self) -> None:
        if agent_is_up(self._settings.home):
            replace_stranger(self._settings)
        elif self._started is None or self._started.returncode is not None:
            self._started = start_agent(self._settings)


def replace_stranger(settings: Settings) -> None:
    """Ask an agent of another version to leave; its jobs go on, and this version's agent adopts them."""
    known = read_json(settings.home / "agent.json")
    if known is None or not is_alive(known):
        return
    wanted = {server.get("version") for server in live_servers(settings.home)}
    if known.get("version") not in wanted:
        logger.warning("The agent is of version %s; this server starts its own.", known.get("version"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(known["pid"], signal.SIGTERM)


def start_agent(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the home's agent in a session of its own, with a scrubbed environment; its log is `agent.log`."""
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    with (settings.home / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "workbench", "agent", "--home", str(settings.home)],
            env=scrubbed(variables),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
