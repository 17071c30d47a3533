"""Every notebook runs from its first cell to its last, as a reader of its outputs would expect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Lab, running_lab

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb"))
MOST_CODE_CELLS = 3


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("notebooks") / "home") as lab:
        yield lab


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_notebook_runs(notebook: Path, lab: Lab, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-W", "ignore", str(notebook)]
    environment = os.environ | {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": lab.token}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "passed" in ended.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_notebook_is_thin_and_holds_no_output(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert 1 <= len(cells) <= MOST_CODE_CELLS
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_every_panel_has_a_notebook() -> None:
    sources = {path: path.read_text() for path in NOTEBOOKS if path.parent == FOLDER}
    for name in ("data", "train", "runs", "queue", "comparisons", "models", "chat"):
        assert f'panel(\\"{name}\\")' in sources[FOLDER / f"{name}.ipynb"]
    assert "wb.panel()" in sources[FOLDER / "workbench.ipynb"]
