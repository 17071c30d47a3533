import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workbench import testing
from workbench.evaluation import scoring
from workbench.evaluation.compare import compare
from workbench.evaluation.metrics import token_f1
from workbench.evaluation.run import NoAnswers, read_questions
from workbench.evaluation.schemas import EvaluationResult, Sample
from workbench.inference.weights import weights_sha256

MODELS = [
    {"version_id": "mv_tuned", "path": "tuned", "role": "tuned"},
    {"version_id": "mv_base", "path": "base", "role": "base"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    testing.make_model(home / "base", hidden_size=32)
    testing.make_model(home / "tuned", "llama", hidden_size=32, seed=1)
    return home


def spec(home: Path, **changes: Any) -> dict[str, Any]:
    data = testing.store_rows(home, testing.demo_rows()[:60], split="test", test_fraction=0.5)
    return {"models": MODELS, "data": data.model_dump(mode="json"), "max_new_tokens": 8, "batch_size": 8, **changes}


def launch(home: Path, job_id: str, told: dict[str, Any]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = testing.write_attempt(home, job_id, 1, told)
    command = [sys.executable, "-m", "workbench.evaluation.run", str(folder)]
    environment = {**os.environ, "WORKBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return folder, subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    folder, done = launch(home, "job", spec(home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> EvaluationResult:
    found = EvaluationResult.model_validate_json((folder / "result.json").read_bytes())
    assert found.environment["packages"]["transformers"]
    return found


def stored(home: Path, path: str) -> list[Sample]:
    return [Sample.model_validate_json(line) for line in (home / path).read_text().splitlines()]


def test_the_figures_can_be_recomputed_from_the_stored_samples(home: Path, result: EvaluationResult) -> None:
    found = {score.role: stored(home, score.samples_path) for score in result.results}
    for score in result.results:
        assert score.rows == len(found[score.role]) > 20
        assert score.exact_match == scoring.exact_match(found[score.role])
        assert score.token_f1 == scoring.mean(found[score.role], "token_f1")
        assert score.rouge_l == scoring.mean(found[score.role], "rouge_l")
        assert score.chrf == scoring.mean(found[score.role], "chrf")
        assert [row.token_f1 for row in found[score.role]] == [
            token_f1(r.answer, r.expected) for r in found[score.role]
        ]
        assert score.perplexity == pytest.approx(scoring.perplexity(found[score.role]))
        assert score.perplexity > 100, "an untrained model is surprised by every token"
    assert result.comparison == compare(found["tuned"], found["base"])
    assert len(result.comparison.metrics) == 5


def test_only_held_out_rows_are_answered_and_each_once(home: Path, result: EvaluationResult) -> None:
    from workbench.datasets.split import assign

    prompts = [sample.prompt for sample in stored(home, result.results[0].samples_path)]
    held_out = [row["prompt"] for row in testing.demo_rows()[:60] if assign(row["prompt"], 0, 0.5) == "test"]
    assert prompts == held_out


def test_each_result_names_its_weights_and_template(home: Path, result: EvaluationResult) -> None:
    assert [score.version_id for score in result.results] == ["mv_tuned", "mv_base"]
    assert [score.weights_sha256 for score in result.results] == [
        weights_sha256(home / "tuned"),
        weights_sha256(home / "base"),
    ]
    assert {score.template.source for score in result.results} == {"chat_template.jinja"}


def test_progress_counts_rows_over_all_models(folder: Path, result: EvaluationResult) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = result.results[0].rows
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["step"] == lines[-1]["total_steps"] == 2 * rows
    assert {"tuned_exact_match", "rows_per_second"} <= lines[0]["values"].keys()
    assert "base_exact_match" in lines[-1]["values"]


def test_one_model_alone_is_not_compared(home: Path) -> None:
    folder, done = launch(home, "alone", spec(home, models=MODELS[:1], limit=5))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["comparison"] is None
    assert result["results"][0]["rows"] == 5


def test_a_split_without_rows_fails_in_words(home: Path) -> None:
    told = spec(home)
    told["data"]["test_fraction"] = 0.0
    folder, done = launch(home, "empty", told)
    assert done.returncode == 1
    assert json.loads((folder / "error.json").read_text())["code"] == "evaluation.no_rows"
    assert not (folder / "result.json").exists()


def test_a_model_that_is_gone_fails_in_words(home: Path) -> None:
    gone = [{**MODELS[0], "path": "nowhere"}]
    folder, done = launch(home, "gone", spec(home, models=gone))
    assert done.returncode == 1
    assert "'nowhere'" in json.loads((folder / "error.json").read_text())["message"]


def test_a_limit_draws_the_same_rows_for_the_same_seed(home: Path) -> None:
    from workbench.datasets.materialise import materialise

    arrow = materialise(home, testing.store_rows(home, testing.demo_rows()[:60]))
    drawn = read_questions(arrow, 10, seed=3)
    assert drawn == read_questions(arrow, 10, seed=3) != read_questions(arrow, 10, seed=4)
    assert [question.row_id for question in drawn] == sorted(question.row_id for question in drawn)
    assert len(read_questions(arrow, 1000, seed=3)) == 60


def test_plain_texts_have_no_answers(home: Path) -> None:
    from workbench.datasets.materialise import materialise

    arrow = materialise(home, testing.store_rows(home, [{"text": f"Text {n}"} for n in range(3)]))
    with pytest.raises(NoAnswers, match="plain texts"):
        read_questions(arrow, None, seed=0)
