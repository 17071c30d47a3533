"""Job kinds: which worker runs each, and which finisher publishes its result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from workbench.evaluation import service as evaluation
from workbench.jobs import notebooks
from workbench.jobs.executor import GRACE
from workbench.jobs.runner import Kind
from workbench.training import service as training


def _train(spec: dict[str, Any], folder: Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    shape = [f"--nproc_per_node={spec['training']['processes']}", f"--shutdown-timeout={int(GRACE)}"]
    return [*launcher, *shape, "-m", "workbench.training.run", str(folder)]


def _evaluate(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench.evaluation.run", str(folder)]


def _notebook(spec: dict[str, Any], folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench.jobs.run", str(folder)]


KINDS = {
    "train": Kind(argv=_train, publish=training.publish),
    "evaluate": Kind(argv=_evaluate, publish=evaluation.publish),
    notebooks.KIND: Kind(argv=_notebook, publish=notebooks.publish),
}
