import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench import testing
from workbench.core.errors import Invalid
from workbench.jobs.attempt import Attempt, StopRequest, run_worker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "1")
    before = signal.getsignal(signal.SIGTERM)
    yield testing.write_attempt(tmp_path, "job_1", 2, {"any": "thing"}, last_seq=9)
    signal.signal(signal.SIGTERM, before)


def test_an_attempt_knows_its_places(folder: Path, tmp_path: Path) -> None:
    attempt = Attempt.read(folder)
    assert (attempt.attempt_no, attempt.last_seq, attempt.resume, attempt.spec) == (2, 9, True, {"any": "thing"})
    assert attempt.checkpoints == tmp_path / "jobs" / "job_1" / "checkpoints"
    assert attempt.resolve("models/x") == tmp_path / "models" / "x"
    assert attempt.resolve("/elsewhere") == Path("/elsewhere")


def test_work_that_ends_well_exits_0(folder: Path) -> None:
    assert run_worker(lambda attempt, stop: attempt.write("result", {"n": 1}), [str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text()) == {"n": 1}


def test_a_known_failure_is_written_down(folder: Path) -> None:
    def fail(attempt: Attempt, stop: StopRequest) -> None:
        raise Invalid("Too long; shorten it.")

    assert run_worker(fail, [str(folder)]) == 1
    assert json.loads((folder / "error.json").read_text()) == {"code": "invalid", "message": "Too long; shorten it."}


def test_a_stop_on_request_exits_143_and_writes_nothing(folder: Path) -> None:
    def stopped(attempt: Attempt, stop: StopRequest) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        stop.check()

    assert run_worker(stopped, [str(folder)]) == 143
    assert {path.name for path in folder.iterdir()} == {"spec.json"}


def test_an_unknown_failure_is_not_hidden(folder: Path) -> None:
    def crash(attempt: Attempt, stop: StopRequest) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_worker(crash, [str(folder)])
