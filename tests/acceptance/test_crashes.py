"""`kill -9` of every process in turn: nothing is lost, and every number comes out the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from servers import Lab, attempt_lines, processes_of, running_lab, stop_home, until

from workbench.core.errors import WorkbenchError
from workbench.datasets.client import Dataset
from workbench.jobs.client import JobFailed
from workbench.jobs.tables import Job
from workbench.testing import demo_rows
from workbench.training.client import Run

STEPS = 120
#: Long enough to be hit in its middle; shuffled, with dropout, gradient accumulation and a second epoch.
RUN = {
    "max_steps": STEPS,
    "evaluate": False,
    "batch_size": 16,
    "micro_batch_size": 8,
    "max_length": 64,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_steps": 20,
    "seed": 7,
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with running_lab(tmp_path / "home") as running:
        yield running
    assert processes_of(tmp_path / "home") == []


def start(lab: Lab, base: Path, **options: object) -> Run:
    """Start a run on the demo's rows."""
    names = [one.name for one in lab.wb.datasets.list()]
    data: Dataset = lab.wb.datasets["rows"] if "rows" in names else lab.wb.datasets.upload(demo_rows(), name="rows")
    return lab.wb.train(base=str(base), data=data["train"], **RUN | options)  # type: ignore[arg-type]


def reach(lab: Lab, run: Run, step: int, attempt: int = 1) -> None:
    """Wait until the trainer has written a step."""
    until(lambda: any(line["step"] >= step for line in attempt_lines(lab.home, run.id, attempt)), 120, f"step {step}")


def supervised(lab: Lab, run: Run, attempt: int = 1) -> psutil.Process:
    """Return the process that an attempt's supervisor started: the launcher."""
    import json

    written = lab.home / "jobs" / run.id / str(attempt) / "run.json"
    return psutil.Process(json.loads(written.read_text())["pid"])


def trainer(lab: Lab, run: Run, attempt: int = 1) -> psutil.Process:
    """Return the process that trains: the launcher's child."""
    return next(
        child for child in supervised(lab, run, attempt).children() if "training.run" in " ".join(child.cmdline())
    )


def state_in_database(lab: Lab, run: Run) -> str:
    """Read a job's state while no server is there to be asked."""
    database = lab.database()
    with database.read() as session:
        state = session.get_one(Job, run.id).state
    database.close()
    return state


@pytest.mark.slow
def test_a_run_outlives_its_server_and_is_published_without_one(lab: Lab, base: Path, tmp_path: Path) -> None:
    run = start(lab, base)
    reach(lab, run, 10)
    pid = trainer(lab, run).pid
    lab.kill()
    reach(lab, run, 30)
    assert psutil.pid_exists(pid)
    until(lambda: state_in_database(lab, run) == "succeeded", 120, "the end of the run")
    with running_lab(lab.home) as again:
        run = again.wb.runs[run.id]
        assert run.model.record.job_id == run.id
        assert [line.step for line in run.metrics()] == list(range(1, STEPS + 1))
        assert [line["step"] for line in attempt_lines(lab.home, run.id, 1)] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_a_new_agent_adopts_the_running_job(lab: Lab, base: Path) -> None:
    run = start(lab, base)
    reach(lab, run, 10)
    pid, first = trainer(lab, run).pid, lab.agent_pid()
    os.kill(first, signal.SIGKILL)
    until(lambda: lab.agent_pid() != first, 90, "a new agent")
    run.wait()
    assert run.job().attempt_no == 1
    assert [line.step for line in run.metrics()] == list(range(1, STEPS + 1))
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, "lora"])
def test_a_killed_run_resumes_to_the_same_weights(lab: Lab, base: Path, adapter: str | None) -> None:
    whole = start(lab, base, adapter=adapter)
    broken = start(lab, base, adapter=adapter)
    reach(lab, broken, 50)
    trainer(lab, broken).kill()
    killed_at = time.monotonic()
    with pytest.raises(JobFailed, match="SIGKILL"):
        broken.wait()
    print(f"the kill was told after {time.monotonic() - killed_at:.1f} s (aim: 10 s)")
    assert broken.job().error_code == "job.killed"
    broken.resume()
    reach(lab, broken, 70, attempt=2)
    supervised(lab, broken, attempt=2).kill()
    with pytest.raises(JobFailed, match="SIGKILL"):
        broken.wait()
    broken.resume()
    broken.wait()
    whole.wait()
    assert broken.job().attempt_no == 3
    assert broken.model.record.weights_sha256 == whole.model.record.weights_sha256
    assert {line.step: line.values["loss"] for line in broken.metrics()} == {
        line.step: line.values["loss"] for line in whole.metrics()
    }
    assert [line.step for line in broken.metrics()] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_a_run_killed_inside_a_checkpoint_resumes_to_the_same_weights(tmp_path: Path, base: Path) -> None:
    home = tmp_path / "home"
    with running_lab(home) as lab:
        whole = start(lab, base).wait().model.record.weights_sha256
    with running_lab(home, WORKBENCH_FAULT="checkpoint:60:files") as lab:
        broken = start(lab, base)
        with pytest.raises(JobFailed, match="SIGKILL"):
            broken.wait()
    folder = home / "jobs" / broken.id / "checkpoints"
    assert "checkpoint-40" in {path.name for path in folder.iterdir()}
    assert "checkpoint-60" not in {path.name for path in folder.iterdir()}
    with running_lab(home) as lab:
        broken = lab.wb.runs[broken.id]
        broken.resume()
        broken.wait()
        assert broken.model.record.weights_sha256 == whole
        assert attempt_lines(home, broken.id, 2)[0]["step"] == 41


@pytest.mark.slow
def test_a_vanished_supervisor_costs_nothing_but_time(lab: Lab, base: Path) -> None:
    run = start(lab, base)
    reach(lab, run, 45)
    supervised(lab, run).parent().kill()  # type: ignore[union-attr]
    run.wait()
    assert run.job().attempt_no == 2
    again = attempt_lines(lab.home, run.id, 2)[0]["step"]
    assert again > 40
    assert again % 20 == 1, "it goes on right after a checkpoint"
    assert [line.step for line in run.metrics()] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_stop_leaves_no_process_and_the_run_goes_on_at_the_next_start(tmp_path: Path, base: Path) -> None:
    home = tmp_path / "home"
    with running_lab(home) as lab:
        run = start(lab, base, max_steps=400)
        reach(lab, run, 30)
        stop_home(home)
        assert processes_of(home) == []
        with pytest.raises(WorkbenchError):
            lab.wb.health()
    with running_lab(home) as lab:
        run = lab.wb.runs[run.id]
        run.wait()
        assert run.job().attempt_no == 2
        assert [line.step for line in run.metrics()] == list(range(1, 401))
