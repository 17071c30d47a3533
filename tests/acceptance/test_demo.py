"""`workbench demo`: the main job from one command, and its proof."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import processes_of, running_lab

from workbench.datasets.split import assign
from workbench.testing import demo_rows

DEMO = [sys.executable, "-m", "workbench", "demo", "--no-lab", "--json"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def report(home: Path) -> dict[str, Any]:
    ended = subprocess.run([*DEMO, "--home", str(home)], capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout)
    print(f"the demo took {found['seconds']} s (aim: 180 s on two cores)")
    return found


@pytest.mark.slow
def test_the_tuned_model_learned_what_its_base_did_not_know(report: dict[str, Any]) -> None:
    assert report["base"]["exact_match"] < 0.1
    assert report["tuned"]["exact_match"] >= 0.8
    assert report["verdict"] == "better"
    assert report["reply"]


@pytest.mark.slow
def test_the_score_can_be_recomputed_from_the_stored_samples(report: dict[str, Any], home: Path) -> None:
    files = {path.stem: path for path in (home / "evaluations").glob("*/*.jsonl")}
    assert len(files) == 2
    for version_id, path in files.items():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        right = sum(row["answer"].strip() == row["expected"].strip() for row in rows)
        role = "tuned" if version_id == report["model_version"] else "base"
        assert right / len(rows) == report[role]["exact_match"]
        assert len(rows) == report[role]["rows"]


@pytest.mark.slow
def test_no_training_prompt_is_held_out(report: dict[str, Any], home: Path) -> None:
    path = next((home / "evaluations").glob(f"*/{report['model_version']}.jsonl"))
    held_out = {json.loads(line)["prompt"] for line in path.read_text().splitlines()}
    training = {row["prompt"] for row in demo_rows() if assign(row["prompt"], 0, 0.1) == "train"}
    assert held_out
    assert not held_out & training
    assert held_out | training == {row["prompt"] for row in demo_rows()}


@pytest.mark.slow
def test_nothing_is_left_running(report: dict[str, Any], home: Path) -> None:
    assert processes_of(home) == []


@pytest.mark.slow
def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = os.environ | {"WORKBENCH_AGENT": "external"}
    ended = subprocess.run([*DEMO, "--home", str(home)], capture_output=True, text=True, timeout=200, env=environment)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert f"start one with `workbench agent --home {home}`" in ended.stderr
    assert processes_of(home) == []


@pytest.mark.slow
def test_with_a_stopped_agent_it_says_so(tmp_path: Path) -> None:
    with running_lab(tmp_path / "home") as lab:
        agent = psutil.Process(lab.agent_pid())
        agent.send_signal(signal.SIGSTOP)
        try:
            ended = subprocess.run([*DEMO, "--home", str(lab.home)], capture_output=True, text=True, timeout=200)
        finally:
            agent.send_signal(signal.SIGCONT)
        assert ended.returncode == 1
        assert "No agent has answered" in ended.stderr
