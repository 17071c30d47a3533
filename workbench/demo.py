"""The main job on a tiny offline model, through HTTP like any user: data, training, comparison with the base."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from workbench import launch
from workbench.core.errors import Unavailable
from workbench.core.settings import Settings
from workbench.datasets.client import Dataset
from workbench.evaluation.client import Evaluation
from workbench.jobs.client import JobFailed, JobHandle
from workbench.jobs.schemas import ENDED, Job
from workbench.session import Workbench, connect
from workbench.testing import make_demo_model, write_demo_dataset

NAME = "demo-capitals-and-sums"
BASE = "demo-base"
SHOWN_ANSWERS = 6
AGENT_TIMEOUT = 30.0  # seconds an agent may be away before the demo gives up
POLL_INTERVAL = 0.5  # seconds
#: The training that facts of this size need; see the docstring of `workbench.testing`.
TRAINING: dict[str, Any] = {
    "max_steps": 250,
    "batch_size": 32,
    "micro_batch_size": 32,
    "learning_rate": 2e-3,
    "warmup_steps": 20,
    "adam_beta2": 0.98,
    "max_length": 128,
    "logging_steps": 5,
}


class AgentAbsent(Unavailable):
    """No agent runs the queue."""

    code = "agent.absent"


def run(settings: Settings, *, open_lab: bool, as_json: bool, port: int) -> None:
    """Do the demo; raises a `WorkbenchError` that says which step failed and why."""
    console = Console(stderr=as_json)
    began = time.monotonic()
    with server(settings, port, keep=open_lab) as wb:
        require_agent(wb, settings.home)
        report = main_job(wb, settings.home, console)
        report["seconds"] = round(time.monotonic() - began, 1)
        console.print(f"Done in {report['seconds']} s. See it: workbench lab --home {settings.home}", soft_wrap=True)
        if as_json:
            print(json.dumps(report), flush=True)  # noqa: T201
        if open_lab:
            show_lab(settings, console)


@contextlib.contextmanager
def server(settings: Settings, port: int, keep: bool) -> Iterator[Workbench]:
    """Connect to the home's server; start one if none runs, and then stop all that it started."""
    known = launch.running_server(settings.home)
    if known is not None:
        with contextlib.closing(connect(known["url"], known["token"])) as wb:
            yield wb
        return
    command = [sys.executable, "-m", "workbench", "lab", "--no-browser", "--port", str(port)]
    with (settings.home / "server.log").open("ab") as log:
        process = subprocess.Popen([*command, "--home", str(settings.home)], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable(f"The server did not start; {settings.home / 'server.log'} says why.")
        where = json.loads(line)
        with contextlib.closing(connect(where["url"], where["token"])) as wb:
            yield wb
        if keep:
            process.wait()
    finally:
        launch.stop(settings)
        process.wait()


def main_job(wb: Workbench, home: Path, console: Console) -> dict[str, Any]:
    """Bring the data, train, compare; return the figures."""
    folder = home / "demo"
    folder.mkdir(exist_ok=True)
    base = make_base(folder / BASE)
    console.print(f"The base is a tiny, untrained model in {base}.", soft_wrap=True)
    data = bring_data(wb, write_demo_dataset(folder / f"{NAME}.jsonl"))
    console.print(data.reading)
    train, test = data["train"], data["test"]
    console.print(f"{train.rows} rows to train on, {test.rows} held out; no prompt is on both sides.")
    run = wb.train(base=str(base), data=train, **TRAINING)
    follow(wb, run, home, console, "Training")
    evaluation = wb.comparison(run)
    follow(wb, evaluation, home, console, "Evaluating")
    return report(evaluation, run.id, run.model.id, console)


def make_base(folder: Path) -> Path:
    """Make the tiny base model once."""
    if (folder / "config.json").exists():
        return folder
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    return make_demo_model(temporary).rename(folder)


def bring_data(wb: Workbench, path: Path) -> Dataset:
    """Upload the rows, or take the dataset of an earlier demo."""
    if NAME in wb.datasets._ipython_key_completions_():
        return wb.datasets[NAME]
    return wb.datasets.upload(path, name=NAME, message="The offline demo's rows")


def follow(wb: Workbench, handle: JobHandle, home: Path, console: Console, title: str) -> None:
    """Show a job's progress until it has ended; raises `JobFailed` or `AgentAbsent`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task, seen = progress.add_task(title, total=None), 0
        while (job := handle.job()).state not in ENDED:
            for line in handle.metrics(seen):
                seen = line.seq
                loss = f" loss {line.values['loss']:.3f}" if "loss" in line.values else ""
                progress.update(task, completed=line.step, total=line.total_steps, description=title + loss)
            require_agent(wb, home)
            time.sleep(POLL_INTERVAL)
        progress.update(task, completed=progress.tasks[0].total)
    check(job)


def check(job: Job) -> None:
    """Raise `JobFailed` unless the job succeeded."""
    if job.state != "succeeded":
        raise JobFailed(job.error or f"“{job.title}” was {job.state}.", job.error_code)


def require_agent(wb: Workbench, home: Path) -> None:
    """Wait for an agent to be there; raise `AgentAbsent` when none comes."""
    if not launch.wait_until(lambda: wb.health().agent == "running", AGENT_TIMEOUT):
        raise AgentAbsent(
            f"No agent has answered for {AGENT_TIMEOUT:.0f} s, so no job can run;"
            f" start one with `workbench agent --home {home}`."
        )


def report(evaluation: Evaluation, run_id: str, model_version_id: str, console: Console) -> dict[str, Any]:
    """Print the comparison and return its figures."""
    found = evaluation.record
    scores = {score.role: score for score in found.scores}
    samples = evaluation.samples(limit=200)
    assert found.comparison is not None
    console.print(_table(samples[:SHOWN_ANSWERS]))
    for role, score in scores.items():
        console.print(f"{role}: exact match {score.exact_match:.3f}, perplexity {score.perplexity:.3g}")
    console.print(found.comparison.sentence)
    tuned = [answer for answer in samples[0].answers if answer.role == "tuned"]
    figures = {
        role: {"exact_match": score.exact_match, "perplexity": score.perplexity, "rows": score.rows}
        for role, score in scores.items()
    }
    return figures | {
        "verdict": found.comparison.verdict,
        "run": run_id,
        "model_version": model_version_id,
        "evaluation": found.id,
        "reply": tuned[0].answer,
    }


def show_lab(settings: Settings, console: Console) -> None:
    """Open JupyterLab on the result."""
    known = launch.running_server(settings.home)
    assert known is not None
    url = f"{known['url']}lab/tree/workbench.ipynb?token={known['token']}"
    console.print(f"JupyterLab runs at {url} — press Ctrl-C here, or run `workbench stop`, to end it.", soft_wrap=True)
    webbrowser.open(url)


def _table(samples: Any) -> Table:
    table = Table("Held-out prompt", "Expected", "Base", "Tuned", title="Before and after")
    for row in samples:
        answers = {answer.role: answer for answer in row.answers}
        cells = [
            f"{'✓' if answers[role].exact_match else '✗'} {answers[role].answer[:40]}" for role in ("base", "tuned")
        ]
        table.add_row(row.prompt, row.expected, *cells)
    return table
