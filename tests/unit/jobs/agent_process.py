"""Runs an agent for trivial jobs: `agent_process.py HOME DATABASE_URL IDLE_SECONDS`."""

import sys
from pathlib import Path

from trivial import KINDS

from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.jobs.agent import Agent, agent_lock

home = Path(sys.argv[1])
database = Database(sys.argv[2])
with agent_lock(home):
    Agent(database, Settings(home=home, agent_idle_seconds=float(sys.argv[3])), KINDS).run()
database.close()
