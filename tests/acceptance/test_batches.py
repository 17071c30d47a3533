"""The main job as a batch: by papermill, by `workbench batch`, and as in a notebook, to the same weights."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from servers import Lab, running_lab, until

from workbench.batch import read, templates
from workbench.core.errors import RemoteError
from workbench.jobs import signature
from workbench.jobs.client import JobFailed
from workbench.session import connect
from workbench.testing import demo_rows
from workbench.training.client import Run
from workbench.training.panel import TrainPanel

pytestmark = pytest.mark.slow
FINETUNE = templates() / "finetune.ipynb"
SPEC: dict[str, Any] = {"max_steps": 3, "batch_size": 4, "max_length": 64, "seed": 7, "learning_rate": 1e-3}
#: What every token of ours looks like.
TOKEN = re.compile(r"wbk_[\w-]{40}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("batches") / "home") as running:
        running.wb.datasets.upload(demo_rows()[:60], name="facts", test_fraction=0.1)
        yield running


@pytest.fixture(scope="module")
def expected(lab: Lab, base: Path) -> str:
    """The hash of the weights that the same run makes when it is started in the panel."""
    started: list[Run] = []
    panel = TrainPanel(lab.wb.train, on_start=started.append, language="en")
    dataset = lab.wb.datasets["facts"]
    panel.offer(dataset)
    typed = {name: str(value) for name, value in SPEC.items()} | {"base": str(base), "data": dataset.id}
    blank = dict.fromkeys((field["name"] for field in panel.form.fields), "")
    panel.form.on_submit({"values": blank | {"adapter": "full", "scheduler": "linear"} | typed}, [])
    assert (panel.form.errors, panel.form.notice) == ({}, "")
    sha256 = started[0].wait().model.record.weights_sha256
    assert sha256 is not None
    return sha256


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has no login yet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    return kept | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "200"}


def command(*words: str | Path, user: dict[str, str], cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    program, *arguments = words
    path = [Path(sys.executable).with_name(str(program))] if program == "papermill" else [sys.executable, "-m", program]
    return subprocess.run(
        [*path, *arguments], env=user, cwd=cwd, input=text, capture_output=True, text=True, timeout=300
    )


def parameters(base: Path, **more: Any) -> list[str]:
    given = {"base": base, "data": "facts", **SPEC, **more}
    return [word for name, value in given.items() for word in ("-p", name, str(value))]


def login(lab: Lab, user: dict[str, str], cwd: Path) -> Path:
    done = command("workbench", "login", "--home", lab.home, "--token-stdin", user=user, cwd=cwd, text=f"{lab.token}\n")
    assert done.returncode == 0, done.stderr
    assert lab.token not in done.stdout + done.stderr
    return Path(user["XDG_CONFIG_HOME"]) / "workbench" / "credentials.json"


def test_papermill_by_the_environment(
    lab: Lab, base: Path, expected: str, user: dict[str, str], tmp_path: Path
) -> None:
    made = lab.wb.tokens.create("papermill", expires_in_days=1)
    known = user | {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": made.token}
    done = command("papermill", FINETUNE, "out.ipynb", *parameters(base), user=known, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    result = signature.result(read(tmp_path / "out.ipynb"))
    assert result["weights_sha256"] == expected
    assert result["scores"].keys() == {"tuned", "base"}
    assert made.token not in (tmp_path / "out.ipynb").read_text() + done.stderr
    (used,) = [one for one in lab.wb.tokens.list() if one.id == made.id]
    assert used.last_used_at is not None


def test_papermill_by_the_login(lab: Lab, base: Path, expected: str, user: dict[str, str], tmp_path: Path) -> None:
    file = login(lab, user, tmp_path)
    stored = json.loads(file.read_text())
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    names = {one.id: one.name for one in lab.wb.tokens.list()}
    assert names[stored["token_id"]] == f"login on {socket.gethostname()}"
    done = command("papermill", FINETUNE, "out.ipynb", *parameters(base), user=user, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert signature.result(read(tmp_path / "out.ipynb"))["weights_sha256"] == expected
    assert stored["token"] not in (tmp_path / "out.ipynb").read_text() + done.stderr
    again = command(
        "workbench", "login", "--url", lab.url, "--token-stdin", user=user, cwd=tmp_path, text=stored["token"]
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(file.read_text()) == stored
    assert command("workbench", "logout", user=user, cwd=tmp_path).returncode == 0
    assert not file.exists()
    assert stored["token_id"] not in {one.id for one in lab.wb.tokens.list()}


def test_workbench_batch(lab: Lab, base: Path, expected: str, user: dict[str, str], tmp_path: Path) -> None:
    token = json.loads(login(lab, user, tmp_path).read_text())["token"]
    words = ("batch", FINETUNE, "--json", "--output", "out.ipynb", *parameters(base))
    done = command("workbench", *words, user=user, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["result"]["weights_sha256"] == expected
    job = lab.wb.jobs[report["job"]].job()
    assert job.outcome is not None
    assert (job.kind, job.cpus, job.outcome["result"]) == ("notebook", 0, report["result"])
    kept = lab.home / job.outcome["notebook_path"]
    run = lab.wb.runs[report["result"]["run"]]
    assert run.notebook() == read(tmp_path / "out.ipynb") == read(kept)
    assert not any(secret in kept.read_text() + done.stderr for secret in (lab.token, token))
    assert TOKEN.search(kept.read_text() + done.stderr) is None
    assert f"papermill {base}" not in kept.read_text()


def test_a_local_file_is_uploaded_and_code_in_a_value_stays_a_string(
    lab: Lab, user: dict[str, str], tmp_path: Path
) -> None:
    login(lab, user, tmp_path)
    rows = tmp_path / "mine.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in demo_rows()[:20]))
    evil = "__import__('os').system('touch pwned')"
    words = ("-p", "base", evil, "-p", "data", "mine.jsonl", "-p", "test_fraction", "0")
    done = command("workbench", "batch", FINETUNE, *words, user=user, cwd=tmp_path)
    assert done.returncode == 1
    assert "as the dataset “mine”" in done.stdout
    assert done.stderr.strip().count("\n") == 0
    assert "failed with RemoteError" in done.stderr
    (out,) = tmp_path.glob("finetune.job_*.ipynb")
    (injected,) = [one for one in read(out)["cells"] if "injected-parameters" in one["metadata"].get("tags", [])]
    assigned = {node.targets[0].id: node.value.value for node in ast.parse("".join(injected["source"])).body}
    assert assigned == {"base": evil, "data": "mine", "test_fraction": 0.0}
    assert lab.wb.datasets["mine"].version.test_rows == 0
    assert [*lab.home.rglob("pwned"), *tmp_path.rglob("pwned")] == []
    again = command("workbench", "batch", FINETUNE, *words, user=user, cwd=tmp_path)
    assert "give its name as data to use it" in again.stderr


def test_ctrl_c_leaves_the_job_running_and_says_how_to_end_it(lab: Lab, user: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sleep.ipynb").write_text(json.dumps(cells("seconds: int = 600", "import time\ntime.sleep(seconds)")))
    words = [sys.executable, "-m", "workbench", "batch", "sleep.ipynb"]
    known = user | {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": lab.token}
    command = subprocess.Popen(words, env=known, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    job = until(lambda: next((one for one in lab.wb.jobs.list() if one.title == "sleep"), None), what="the job")
    until(lambda: lab.wb.jobs[job.id].state == "running", what="its start")
    command.send_signal(signal.SIGINT)
    told, _ = command.communicate(timeout=30)
    assert command.returncode == 130
    assert f"workbench.connect().jobs['{job.id}'].wait()" in told
    assert lab.wb.jobs[job.id].state == "running"
    lab.wb.jobs[job.id].cancel()
    until(lambda: lab.wb.jobs[job.id].state == "cancelled", what="its end")


def test_a_cancelled_notebook_leaves_no_kernel_and_starts_over(lab: Lab) -> None:
    notebook = cells("import pathlib, time\nseconds: int = 600", "pathlib.Path('begun').touch()\ntime.sleep(seconds)")
    job = lab.wb.jobs.run_notebook(notebook, {}, title="A long sleep")
    folder = lab.home / "jobs" / job.id / "1"
    until(lambda: (folder / "begun").exists(), what="the cell's start")
    assert len(processes_of(folder)) >= 3  # supervisor, worker, kernel
    job.cancel()
    with pytest.raises(JobFailed, match="cancelled"):
        job.wait()
    assert processes_of(folder) == []
    assert json.loads((folder / "exit.json").read_text())["code"] == 143
    assert "KeyboardInterrupt" in json.dumps(job.notebook())
    job.resume()
    until(lambda: "it starts over" in job.log().text, what="the second start")
    job.cancel()
    until(lambda: job.state == "cancelled", what="the second end")


def test_a_failing_cell_fails_the_job_with_its_reason_and_hides_the_token(lab: Lab) -> None:
    code = "import os\nprint(os.environ['WORKBENCH_TOKEN'])\nraise ValueError('no rows are left; add some')"
    job = lab.wb.jobs.run_notebook(cells("x: int = 1", code), {"x": 2})
    with pytest.raises(JobFailed, match=r"^Cell \[3\] failed with ValueError: no rows are left; add some\.$"):
        job.wait()
    executed = json.dumps(job.notebook())
    assert "[token]" in executed
    assert TOKEN.search(executed) is None
    assert "x = 2" in executed


def test_a_failing_run_fails_the_notebook_with_its_reason(lab: Lab, base: Path) -> None:
    job = lab.wb.jobs.run_notebook(read(FINETUNE), {"base": str(base), "data": "facts", "epochs": 1, "max_steps": 1})
    with pytest.raises(JobFailed, match=r"^Cell \[5\] failed with Invalid: .*give epochs or max_steps, not both\.$"):
        job.wait()


def test_a_kernel_cannot_make_personal_tokens(lab: Lab) -> None:
    code = "import workbench\nworkbench.connect().tokens.create('mine')"
    job = lab.wb.jobs.run_notebook(cells("x: int = 1", code), {})
    with pytest.raises(JobFailed, match="RemoteError: This needs the permission tokens:write"):
        job.wait()


def test_hostile_notebooks_are_refused_in_one_sentence(lab: Lab) -> None:
    other = cells("x: int = 1") | {"metadata": {"kernelspec": {"name": "ir", "display_name": "R"}}}
    headers = {"Authorization": f"Bearer {lab.token}"}
    refused = {
        "{": 422,
        "{}": 422,
        sent({}): 422,
        sent({"nbformat": 4, "nbformat_minor": 5, "cells": 3, "metadata": {}}): 422,
        sent({"nbformat": 4, "nbformat_minor": 5, "cells": [{"cell_type": "code"}], "metadata": {}}): 422,
        sent(cells()): 422,
        sent(cells("x = (")): 422,
        sent(cells("x: int = 1", "\ud800")): 422,
        sent(other): 422,
        sent(cells("x: int = 1", "#" * 11 * 2**20)): 413,
    }
    for body, status in refused.items():
        answer = httpx.post(f"{lab.url}api/jobs/notebooks", content=body, headers=headers, timeout=60)
        assert answer.status_code == status, body[:100]
        assert len(answer.json()["detail"]) < 200
        assert answer.json()["detail"].endswith(".")
    for values in ({"y": 1}, {"x": "1"}, {"x": True}, {"x": None}):
        with pytest.raises(RemoteError, match=r"parameter.*\.$"):
            lab.wb.jobs.run_notebook(cells("x: int = 1"), values)


def test_without_a_login_the_command_says_what_to_do(user: dict[str, str], base: Path, tmp_path: Path) -> None:
    done = command("workbench", "batch", FINETUNE, *parameters(base), user=user, cwd=tmp_path)
    assert done.returncode == 1
    assert "run `workbench login` once" in done.stderr


def test_a_revoked_token_is_refused(lab: Lab) -> None:
    made = lab.wb.tokens.create("short")
    wb = connect(lab.url, made.token)
    assert wb.health().status == "ok"
    lab.wb.tokens.revoke(made.id)
    with pytest.raises(RemoteError) as refused:
        wb.health()
    assert refused.value.remote.status == 401
    wb.close()


def sent(notebook: dict[str, Any]) -> str:
    return json.dumps({"notebook": notebook})


def cells(parameters: str | None = None, *code: str) -> dict[str, Any]:
    tagged = [{"tags": ["parameters"]}] if parameters is not None else []
    sources = [*([parameters] if parameters is not None else []), *code]
    metadata = tagged + [{}] * len(code)
    made = [
        {"cell_type": "code", "metadata": own, "source": source, "outputs": [], "execution_count": None}
        for own, source in zip(metadata, sources, strict=True)
    ]
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": made}


def processes_of(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WORKBENCH_ATTEMPT") == str(folder) and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
