import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workbench import testing
from workbench.datasets.schemas import DataRef
from workbench.training.schemas import BaseModelRef, TrainingJob, TrainingSpec

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


@dataclass
class Launcher:
    """Starts the attempts of one job as the agent does."""

    home: Path
    data: DataRef
    job_id: str
    spec: dict[str, Any]
    attempts: list[Path] = field(default_factory=list)
    #: Output of the last attempt.
    log: str = ""

    def prepare(self) -> Path:
        last_seq = max((line["seq"] for line in self.lines()), default=0)
        spec = TrainingSpec(base="tiny", data={"version_id": "dv_test", "split": "train"}, **self.spec)
        job = TrainingJob(training=spec, base=BaseModelRef(version_id="mv_base", path="base"), data=self.data)
        told = job.model_dump(mode="json")
        self.attempts.append(
            testing.write_attempt(self.home, self.job_id, len(self.attempts) + 1, told, last_seq=last_seq)
        )
        return self.attempts[-1]

    def environment(self, fault: str = "") -> dict[str, str]:
        return {**os.environ, "WORKBENCH_HOME": str(self.home), "WORKBENCH_FAULT": fault, "OMP_NUM_THREADS": "1"}

    def run(self, fault: str = "") -> subprocess.CompletedProcess[str]:
        folder = self.prepare()
        processes = self.spec.get("processes", 1)
        command = [*TORCHRUN, f"--nproc_per_node={processes}", "-m", "workbench.training.run", str(folder)]
        done = subprocess.run(
            command, cwd=folder, env=self.environment(fault), capture_output=True, text=True, timeout=120
        )
        self.log = done.stdout + done.stderr
        return done

    def lines(self) -> list[dict[str, Any]]:
        paths = [attempt / "metrics.jsonl" for attempt in self.attempts]
        return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]

    def points(self) -> dict[int, dict[str, float]]:
        """What a chart shows: later attempts replace the points beyond the step that they resumed from."""
        points: dict[int, dict[str, float]] = {}
        for attempt in self.attempts:
            if (attempt / "resume.json").exists():
                step = json.loads((attempt / "resume.json").read_text())["step"]
                points = {known: values for known, values in points.items() if known <= step}
            for line in (attempt / "metrics.jsonl").read_text().splitlines():
                point = json.loads(line)
                points[point["step"]] = {k: v for k, v in point["values"].items() if k != "tokens_per_second"}
        return points

    def document(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.attempts[-1] / f"{name}.json").read_text())
        return content

    @property
    def checkpoints(self) -> Path:
        return self.home / "jobs" / self.job_id / "checkpoints"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    testing.make_model(home / "base", hidden_size=32, attention_dropout=0.1)
    return home


@pytest.fixture(scope="session")
def data(home: Path) -> DataRef:
    return testing.store_rows(home, testing.demo_rows()[:37])


NewJob = Callable[..., Launcher]


@pytest.fixture(scope="session")
def new_job(home: Path, data: DataRef) -> NewJob:
    """Makes jobs: `new_job(job_id, spec)`, in another home or with other rows if told so."""

    def make(job_id: str, spec: dict[str, Any], home: Path = home, data: DataRef = data) -> Launcher:
        return Launcher(home, data, job_id, spec)

    return make
