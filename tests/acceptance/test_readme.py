"""The README's code does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import running_lab

from workbench.testing import write_demo_dataset

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
INSTALL = re.compile(r"^python3 -m venv .*$", re.MULTILINE)


def test_ci_runs_the_two_commands() -> None:
    commands = INSTALL.findall(README)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text()
    for word in ("workbench demo", "bin/pytest"):
        assert sum(word in command for command in commands) == 1
        assert f"command_of '{word}'" in script


def test_the_picture_is_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(base: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    write_demo_dataset(tmp_path / "support.jsonl")
    code = block.replace("Qwen/Qwen3-0.6B", str(base)) + "\nprint(best.id, best.record.kind)\nwb.close()\n"
    with running_lab(tmp_path / "home") as lab:
        environment = os.environ | {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": lab.token}
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.splitlines()[-1].endswith(" tuned")
