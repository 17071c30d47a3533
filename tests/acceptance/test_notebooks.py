"""Every notebook runs from its first cell to its last, as a reader of its outputs would expect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import running_lab

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    with running_lab(tmp_path / "home") as lab:
        environment = os.environ | {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": lab.token}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--nbval-lax",
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore",
            str(notebook),
        ]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "passed" in ended.stdout
