"""The main job over HTTP, what it records, and what the processes beside it must not load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Lab, attempt_lines

from workbench.core.errors import Conflict, Invalid, WorkbenchError
from workbench.core.http import HTTP
from workbench.datasets.client import Dataset
from workbench.evaluation.client import Evaluation
from workbench.jobs.client import JobFailed
from workbench.jobs.schemas import MetricMessage, StateMessage
from workbench.testing import demo_rows
from workbench.training.client import Run

HEAVY = ("torch", "transformers", "pandas", "sqlalchemy", "pyarrow", "trl", "peft")
KERNEL = """
import sys, workbench
from workbench.training.client import Run
wb = workbench.connect()
panel = wb.panel()
Run(wb.http, {run!r}).watch()
wb.close()
print([name for name in {heavy!r} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def run(lab: Lab, data: Dataset, base: Path) -> Run:
    options = {"max_steps": 6, "batch_size": 16, "learning_rate": 1e-3, "max_length": 64, "logging_steps": 1}
    return lab.wb.train(base=str(base), data=data["train"], **options).wait()


@pytest.fixture(scope="module")
def evaluation(lab: Lab, data: Dataset, run: Run) -> Evaluation:
    return lab.wb.evaluate(run.model, baseline=run.base, test=data["test"], max_new_tokens=8, limit=20)


def test_the_stream_has_each_step_once_and_ends_with_the_job(run: Run) -> None:
    messages = list(run.stream())
    assert isinstance(messages[0], StateMessage)
    assert [line.step for line in messages if isinstance(line, MetricMessage)] == [1, 2, 3, 4, 5, 6]


def test_after_brings_exactly_what_was_missed(run: Run) -> None:
    whole = [line for line in run.stream() if isinstance(line, MetricMessage)]
    for seen in (0, 1, 4, 6, 100):
        rest = [line for line in run.stream(after=seen) if isinstance(line, MetricMessage)]
        assert rest == whole[seen:]
        assert run.metrics(after=seen) == whole[seen:]


def test_the_model_leads_back_to_its_rows(lab: Lab, run: Run, data: Dataset) -> None:
    model = run.model
    assert model.record.kind == "tuned"
    assert model.record.parent_id == run.base.id
    assert run.base.record.weights_sha256 == model.record.record["base_weights_sha256"]
    assert {"training", "template", "environment", "weights_sha256"} <= model.record.record.keys()
    edges = {
        (edge.source.kind, edge.source.id, edge.relation)
        for edge in model.lineage().edges
        if edge.target.id == model.id
    }
    assert ("dataset_version", data.version.id, "trained on train") in edges
    assert ("model_version", run.base.id, "base") in edges
    assert ("job", run.id, f"made by {run.id.replace('job_', 'att_')}_1") in edges


def test_a_model_leads_to_the_very_rows_and_a_row_to_the_models_that_saw_it(
    lab: Lab, run: Run, data: Dataset, base: Path
) -> None:
    rows = lab.wb.rows_of(run.model)
    assert [row.row_id for row in rows] == [row.row_id for row in data["train"]]
    assert [row.prompt for row in rows.page(3, 2).items] == [row.prompt for row in data["train"].page(3, 2).items]
    seen, unseen = next(iter(rows)).row_id, next(iter(data["test"])).row_id

    options = {"max_steps": 1, "batch_size": 16, "evaluate": False}
    child = lab.wb.train(base=run.model, data=data["test"], max_length=64, **options).wait()
    cut = lab.wb.train(base=str(base), data=data["train"], max_length=16, **options).wait()
    kept = {row.row_id for row in lab.wb.rows_of(cut.model)}
    assert len(kept) == cut.model.record.record["rows_used"] < len(rows)
    dropped = next(row.row_id for row in rows if row.row_id not in kept)

    def saw(row_id: int) -> dict[str, bool]:
        return {model.version_id: model.direct for model in lab.wb.models_of(data, row_id)}

    assert saw(seen) | {cut.model.id: True} == {run.model.id: True, child.model.id: False, cut.model.id: True}
    assert saw(unseen) == {child.model.id: True}
    assert saw(dropped) == {run.model.id: True, child.model.id: False}
    with pytest.raises(WorkbenchError, match="brought here"):
        len(lab.wb.rows_of(run.base))
    with pytest.raises(WorkbenchError, match="has a row 99999"):
        lab.wb.models_of(data, 99_999)


def test_a_sharegpt_file_is_trained_on_and_compared_by_itself(lab: Lab, base: Path, tmp_path: Path) -> None:
    rows = [
        {"conversations": [{"from": "human", "value": row["prompt"]}, {"from": "gpt", "value": row["completion"]}]}
        for row in demo_rows()[:80]
    ]
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = lab.wb.datasets.upload(tmp_path / "chats.jsonl")
    assert 'took column "conversations" for the conversation' in data.reading
    shown = lab.wb.preview(base=str(base), data=data["train"], limit=1, max_length=64)
    assert [span.trained for span in shown[0].spans] == [False, True]
    run = lab.wb.train(base=str(base), data=data["train"], max_steps=2, batch_size=8, max_length=64).wait()
    found = lab.wb.comparison(run).wait().record
    assert found.comparison is not None
    assert {metric.metric for metric in found.comparison.metrics} == {
        *("exact_match", "token_f1", "rouge_l", "chrf", "perplexity"),
    }
    assert all(metric.low <= metric.difference <= metric.high for metric in found.comparison.metrics)


def test_the_evaluation_keeps_every_sample(run: Run, evaluation: Evaluation) -> None:
    scores = {score.role: score for score in evaluation.results}
    assert scores["tuned"].version_id == run.model.id
    assert scores["base"].perplexity > scores["tuned"].perplexity
    rows = evaluation.samples(limit=200)
    assert len(rows) == 20
    for role, score in scores.items():
        right = [answer.exact_match for row in rows for answer in row.answers if answer.role == role]
        assert sum(right) / len(right) == score.exact_match
    assert evaluation.verdict is not None
    assert evaluation.verdict.verdict in ("better", "worse", "noise")


def test_every_metric_has_an_interval(evaluation: Evaluation) -> None:
    found = evaluation.verdict
    assert found is not None
    assert [each.metric for each in found.metrics] == ["exact_match", "token_f1", "rouge_l", "chrf", "perplexity"]
    assert all(each.low <= each.difference <= each.high for each in found.metrics)
    assert found.metrics[-1].verdict == "better", "six steps lower the perplexity, whatever else they do"


def test_a_run_was_compared_by_itself(lab: Lab, run: Run, data: Dataset) -> None:
    found = lab.wb.comparison(run).wait().record
    assert [score.version_id for score in found.scores] == [run.base.id, run.model.id]
    assert (found.data, found.scores[0].rows) == (data["test"].ref, data["test"].rows)
    assert found.dataset == "integration v1"


def test_a_report_is_a_file_that_browsers_save(lab: Lab, evaluation: Evaluation, tmp_path: Path) -> None:
    import httpx

    for ending, start in ((".html", b"<!doctype html>"), (".csv", b"row_id,role"), (".json", b"{")):
        path = evaluation.report(tmp_path / f"report{ending}")
        assert path.read_bytes().startswith(start)
    with pytest.raises(Invalid, match=r"\.html, \.csv or \.json"):
        evaluation.report(tmp_path / "report.pdf")
    url = f"{lab.url}api/evaluation/{evaluation.record.id}/report"
    answer = httpx.get(url, headers=lab.wb.http._headers, timeout=30)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert httpx.get(url, timeout=30).status_code in (401, 403)


def test_a_model_is_not_compared_with_itself(lab: Lab, run: Run, data: Dataset, evaluation: Evaluation) -> None:
    with pytest.raises(Exception, match="the model itself"):
        lab.wb.evaluate(run.model, baseline=run.model, test=data["test"])


def test_cancelling_ends_a_run_and_resuming_goes_on(lab: Lab, data: Dataset, base: Path) -> None:
    options = {"max_steps": 150, "batch_size": 8, "max_length": 64, "logging_steps": 1, "save_steps": 1000}
    run = lab.wb.train(base=str(base), data=data["train"], evaluate=False, **options)
    for message in run.stream():
        if isinstance(message, MetricMessage) and message.step >= 3:
            run.cancel()
            break
    with pytest.raises(JobFailed, match="cancelled"):
        run.wait()
    with pytest.raises(Conflict, match="cancelled"):
        _ = run.model
    done = attempt_lines(lab.home, run.id, 1)[-1]["step"]
    assert done < 150
    run.resume()
    run.wait()
    steps = [line.step for line in run.metrics()]
    assert steps == list(range(1, 151))
    assert attempt_lines(lab.home, run.id, 2)[0]["step"] == done + 1


def test_a_waiting_job_says_why(lab: Lab, data: Dataset, base: Path) -> None:
    spec = {"base": str(base), "data": data["train"], "max_length": 64}
    run = lab.wb.train(**spec, processes=64, batch_size=64)
    reasons = (message.job.wait_reason for message in run.stream() if isinstance(message, StateMessage))
    job = run.job()
    while job.wait_reason is None:
        job = run.job()
    assert job.wait_reason.startswith("It needs 64 CPUs; the largest host has")
    del reasons
    assert run.cancel().state == "cancelled"


def test_the_server_never_loads_torch(lab: Lab, run: Run, evaluation: Evaluation) -> None:
    http: HTTP = lab.wb.http
    import httpx

    spec = httpx.get(f"{lab.url}api/workbench/openapi.json", headers=http._headers, timeout=30).json()
    ids = {
        "{job_id}": run.id,
        "{evaluation_id}": evaluation.record.id,
        "{model_id}": run.model.record.model_id,
        "{dataset_id}": lab.wb.datasets["integration"].id,
        "{row_id}": "0",
        "{conversation_id}": lab.wb.chats.begin().id,
    }
    preview = {"base": run.base.id, "version_id": lab.wb.datasets["integration"].version.id, "split": "train"}
    refused = {f"/api/jobs/{run.id}/notebook": 404}
    for path, methods in spec["paths"].items():
        version = run.model.id if "/models/" in path or "/train/" in path else lab.wb.datasets["integration"].version.id
        for name, value in (ids | {"{version_id}": version}).items():
            path = path.replace(name, value)
        if "get" in methods and "x-messages" not in methods["get"]:
            query = preview if path == "/api/train/preview" else {}
            answer = httpx.get(lab.url.rstrip("/") + path, headers=http._headers, params=query, timeout=60)
            nothing_there = "{" in path  # nothing is deployed here
            assert answer.status_code == refused.get(path, 404 if nothing_there else 200), (path, answer.text)
    maps = Path(f"/proc/{lab.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "/torch/" not in maps


def test_a_panel_kernel_stays_light(lab: Lab, run: Run) -> None:
    code = KERNEL.format(run=run.id, heavy=HEAVY)
    environment = {"WORKBENCH_URL": lab.url, "WORKBENCH_TOKEN": lab.token, "PATH": "/usr/bin:/bin"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == "[]", ended.stderr
