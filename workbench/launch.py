"""Starts and stops the processes of a home: the server, the agent, and whatever they left running."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import runpy
import shutil
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workbench
from workbench.core.database import Database
from workbench.core.errors import Conflict, Unavailable
from workbench.core.settings import Settings
from workbench.jobs.agent import Agent, agent_lock
from workbench.jobs.files import live_servers, read_json
from workbench.jobs.processes import is_alive
from workbench.kinds import KINDS

STOP_TIMEOUT = 45.0  # seconds a process gets to end by itself
POLL_INTERVAL = 0.1  # seconds
DASHBOARDS = "dashboards"  # folder of the home in which running dashboards are written down


class WillNotStop(Conflict):
    """A process does not end."""

    code = "stop.timeout"


class NoServerRuns(Unavailable):
    """No server of this home runs."""

    code = "server.absent"


def lab(settings: Settings, port: int, browser: bool) -> None:
    """Run JupyterLab in this process, and print one JSON line with its URL and token when it is ready."""
    from jupyterlab.labapp import LabApp

    folder = copy_notebooks(settings.home)
    os.environ["WORKBENCH_HOME"] = str(settings.home)
    arguments = [f"--port={port or free_port()}", f"--ServerApp.root_dir={folder}"]
    arguments += ["--LabApp.default_url=/lab/tree/workbench.ipynb", "--WorkbenchServer.required=True"]
    arguments += [] if browser else ["--no-browser"]
    arguments += ["--allow-root"] if os.geteuid() == 0 else []
    threading.Thread(target=_announce, args=(settings.home,), daemon=True).start()
    LabApp.launch_instance(argv=arguments)


def dashboards(settings: Settings, port: int, browser: bool) -> None:
    """Replace this process by Voilà, which prints one JSON line with its URL and a ticket when it is ready."""
    require_server(settings.home)
    if browser:
        threading.Thread(target=_open_dashboards, args=(settings.home,), daemon=True).start()
    os.environ["WORKBENCH_HOME"] = str(settings.home)
    sys.argv[1:] = ["--home", str(settings.home), "--port", str(port or free_port())]
    runpy.run_module("workbench_server.dashboards", run_name="__main__", alter_sys=True)


def agent(settings: Settings) -> None:
    """Run the home's agent in this process until it is told to leave or has nothing to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with agent_lock(settings.home, timeout=2.0):  # a server that looks whether it is free holds it for an instant
        database = Database(settings.resolved_database_url())
        database.prepare()
        Agent(database, settings, KINDS).run()
        database.close()


def stop(settings: Settings) -> None:
    """End the home's server, agent, supervisors and jobs, in this order; jobs are queued to go on at the next start."""
    for server in [*live_servers(settings.home, DASHBOARDS), *live_servers(settings.home)]:
        end(server)
    end(read_json(settings.home / "agent.json"))
    if not (settings.home / "agent.lock").exists():
        return  # no agent ever ran here, so no job did
    with agent_lock(settings.home, timeout=STOP_TIMEOUT):
        database = Database(settings.resolved_database_url())
        database.prepare()
        Agent(database, settings, KINDS).shut_down()
        database.close()


def end(who: dict[str, Any] | None) -> None:
    """Ask a process to end, and make it when it does not."""
    if who is None or not is_alive(who):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(who["pid"], number)
        if wait_until(lambda: not is_alive(who), STOP_TIMEOUT):
            return
    raise WillNotStop(f"Process {who['pid']} does not end, not even when killed.")


def running_server(home: Path) -> dict[str, Any] | None:
    """Return where the home's newest server is, if one runs."""
    servers = live_servers(home)
    return servers[-1] if servers else None


def require_server(home: Path) -> dict[str, Any]:
    """Return where the home's newest server is; raises `NoServerRuns` when none runs."""
    known = running_server(home)
    if known is None:
        raise NoServerRuns(f"No workbench server runs for {home}; start one with `workbench lab --home {home}`.")
    return known


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until a condition holds; return False when it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL)
    return True


def copy_notebooks(home: Path) -> Path:
    """Copy the notebooks that are not there yet into the home, and return their folder."""
    source, folder = shipped("notebooks"), home / "notebooks"
    for notebook in source.rglob("*.ipynb"):
        target = folder / notebook.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(notebook, target)
    return folder


def shipped(name: str) -> Path:
    """Return a folder that comes with the product: that of a checkout, or the installed one."""
    checkout = Path(workbench.__file__).parent.parent / name
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "workbench" / name


def free_port() -> int:
    """Return a port of this machine that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _announce(home: Path) -> None:
    while (known := next((one for one in live_servers(home) if one["pid"] == os.getpid()), None)) is None:
        time.sleep(POLL_INTERVAL)
    print(json.dumps({"url": known["url"], "token": known["token"]}), flush=True)  # noqa: T201


def _open_dashboards(home: Path) -> None:
    while (known := next((one for one in live_servers(home, DASHBOARDS) if one["pid"] == os.getpid()), None)) is None:
        time.sleep(POLL_INTERVAL)
    webbrowser.open(f"{known['url']}?ticket={known['ticket']}")
