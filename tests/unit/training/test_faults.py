import signal
import subprocess
import sys

import pytest

from workbench.training.faults import reach


def test_nothing_happens_unless_the_environment_names_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_FAULT", raising=False)
    reach("step:1")
    monkeypatch.setenv("WORKBENCH_FAULT", "step:2")
    reach("step:1")


def test_the_named_point_is_deadly() -> None:
    code = "from workbench.training.faults import reach; reach('step:1'); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"WORKBENCH_FAULT": "step:1"}, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""
