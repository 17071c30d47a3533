"""Servers and agents come and go; a home stays whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Lab, processes_of, running_lab, stop_home, until

import workbench
from workbench.jobs.files import live_servers, write_json


def test_stop_ends_every_server_of_a_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_lab(home) as first:
        second = Lab(home)
        assert {server["pid"] for server in live_servers(home)} == {first.process.pid, second.process.pid}
        until(lambda: first.wb.health().agent == second.wb.health().agent == "running", 90, "the agent's first beat")
        first.disconnect()
        second.disconnect()
        stop_home(home)
        second.process.wait(timeout=30)
    assert processes_of(home) == []


def test_a_server_leaves_its_agent_and_stop_ends_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_lab(home) as lab:
        pid = lab.agent_pid()
        lab.kill()
        assert any(line.startswith(f"{pid} ") for line in processes_of(home))
    assert processes_of(home) == []


def test_an_agent_of_another_version_is_replaced(tmp_path: Path) -> None:
    with running_lab(tmp_path / "home") as lab:
        stranger = lab.agent_pid()
        written = lab.home / "agent.json"
        write_json(written, json.loads(written.read_text()) | {"version": "0.0.1"})
        until(lambda: lab.agent_pid() != stranger, 90, "the replacement")
        assert json.loads(written.read_text())["version"] == workbench.__version__


def test_an_unreadable_agent_file_does_not_end_the_keeper(tmp_path: Path) -> None:
    with running_lab(tmp_path / "home") as lab:
        pid = lab.agent_pid()
        (lab.home / "agent.json").write_text('{"pid": 1}')
        os.kill(pid, signal.SIGKILL)
        until(lambda: lab.agent_pid() not in (pid, 1), 90, "a new agent")


@pytest.mark.parametrize("command", ["lab", "demo"])
def test_a_database_of_a_newer_version_is_named_and_left_alone(tmp_path: Path, command: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with sqlite3.connect(home / "workbench.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('zzzz')")
    connection.close()
    option = "--no-browser" if command == "lab" else "--no-lab"
    argv = [sys.executable, "-m", "workbench", command, option, "--port", "0", "--home", str(home)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stdout == ""
    said = ended.stderr + (home / "server.log").read_text() if command == "demo" else ended.stderr
    assert "belongs to a newer workbench" in said
    assert processes_of(home) == []
