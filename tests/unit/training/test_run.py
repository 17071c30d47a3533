from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import testing
from workbench.inference.template import ChatTemplate
from workbench.inference.weights import tensors, weights_sha256
from workbench.training import checkpoints

if TYPE_CHECKING:
    from conftest import Launcher, NewJob

pytestmark = pytest.mark.slow

# 37 rows in batches of 8: 5 steps an epoch, the last one short. Checkpoints lie between logged steps.
SMALL: dict[str, Any] = {
    "max_steps": 24,
    "batch_size": 8,
    "micro_batch_size": 2,
    "learning_rate": 5e-3,
    "warmup_steps": 2,
    "weight_decay": 0.01,
    "scheduler": "cosine",
    "max_length": 64,
    "logging_steps": 4,
    "save_steps": 6,
}
LORA = {"adapter": "lora", "lora": {"r": 4, "alpha": 8.0, "dropout": 0.1}}


@pytest.fixture(scope="module")
def full(new_job: NewJob) -> Launcher:
    launcher = new_job("full", SMALL)
    done = launcher.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return launcher


@pytest.fixture(scope="module")
def lora(new_job: NewJob) -> Launcher:
    launcher = new_job("lora", {**SMALL, **LORA})
    done = launcher.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return launcher


def resume_after(launcher: Launcher, job_id: str, *faults: str) -> Launcher:
    """Kill an attempt of the same job at each fault, then let the last one end."""
    again = replace(launcher, job_id=job_id, attempts=[])
    for fault in faults:
        assert again.run(fault).returncode != 0
        assert not (again.attempts[-1] / "result.json").exists()
    done = again.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return again


def test_the_result_tells_what_was_made_and_from_what(full: Launcher) -> None:
    result = full.document("result")
    model, base = full.home / result["model_path"], full.home / "base"
    template = ChatTemplate.from_folder(base)
    assert result["weights_sha256"] == weights_sha256(model) != weights_sha256(base) == result["base_weights_sha256"]
    assert result["template"] == template.record() == ChatTemplate.from_folder(model).record()
    assert (result["rows_used"], result["rows_truncated"], result["rows_dropped"]) == (37, 0, 0)
    assert (result["steps"], result["epochs"]) == (24, pytest.approx(4 + 16 / 19))
    assert result["training"]["learning_rate"] == 5e-3
    assert result["environment"]["packages"]["trl"]
    assert result["environment"]["device"].startswith("cpu")
    assert not list((full.home / "models").glob(".*")), "a half-made model is left"


def test_every_logged_step_is_one_line_with_finite_numbers(full: Launcher) -> None:
    lines = full.lines()
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines] == [4, 8, 12, 16, 20, 24]
    assert {line["total_steps"] for line in lines} == {24}
    names = {"loss", "grad_norm", "learning_rate", "epoch", "num_tokens", "tokens_per_second", "mean_token_accuracy"}
    assert all(names <= line["values"].keys() for line in lines)
    assert lines[-1]["values"]["loss"] < lines[0]["values"]["loss"]
    assert lines[-1]["values"]["tokens_per_second"] > 0


def test_the_two_newest_checkpoints_are_kept_and_complete(full: Launcher) -> None:
    assert {path.name for path in full.checkpoints.iterdir()} == {"checkpoint-18", "checkpoint-24"}
    assert all(checkpoints.is_complete(path) for path in full.checkpoints.iterdir())


def test_the_log_can_be_read(full: Launcher, lora: Launcher) -> None:
    assert "37 rows (0 truncated, 0 dropped); template: chat_template.jinja" in full.log
    assert "step 24/24  loss" in full.log
    assert "Warning" not in full.log + lora.log


def test_killed_after_its_last_step_it_takes_the_last_checkpoint_as_it_is(full: Launcher, lora: Launcher) -> None:
    for whole, name in ((full, "full-finished"), (lora, "lora-finished")):
        again = resume_after(whole, name, "model")
        assert again.document("resume") == {"step": 24}
        for key in ("weights_sha256", "train_loss", "steps", "epochs"):
            assert again.document("result")[key] == whole.document("result")[key], key
        assert again.points() == whole.points()


def test_killed_in_checkpoints_and_steps_it_ends_bit_identical(full: Launcher) -> None:
    again = resume_after(full, "full-again", "checkpoint:12:files", "step:17", "checkpoint:18:manifest")
    steps = [json.loads((attempt / "resume.json").read_text())["step"] for attempt in again.attempts[1:]]
    assert steps == [6, 12, 12], "a half-written checkpoint was used, or a whole one was not"
    assert again.document("result")["weights_sha256"] == full.document("result")["weights_sha256"]
    assert again.points() == full.points()
    assert again.document("result")["train_loss"] == full.document("result")["train_loss"]
    sequence = [line["seq"] for line in again.lines()]
    assert sequence == list(range(1, len(sequence) + 1))


def test_a_killed_adapter_run_ends_bit_identical(lora: Launcher) -> None:
    again = resume_after(lora, "lora-again", "checkpoint:12:weights", "step:20")
    assert again.document("result")["weights_sha256"] == lora.document("result")["weights_sha256"]
    assert again.points() == lora.points()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_is_merged_and_kept(lora: Launcher) -> None:
    import torch
    from peft import PeftModel

    from workbench.inference.load import load, load_network

    folder = lora.home / lora.document("result")["model_path"]
    merged = load(folder)
    assert {entry.name for entry in tensors(folder)} == {entry.name for entry in tensors(lora.home / "base")}
    adapted = PeftModel.from_pretrained(load_network(lora.home / "base", "float32"), folder / "adapter").eval()
    ids = torch.tensor([merged.template.prompt_ids([{"role": "user", "content": "9 + 8 = ?"}])])
    with torch.inference_mode():
        assert torch.allclose(merged.network(ids).logits, adapted(ids).logits, atol=1e-4)


def test_two_processes_share_the_batch_and_resume_bit_identical(new_job: NewJob) -> None:
    launcher = new_job("two", {**SMALL, "processes": 2})
    done = launcher.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert launcher.document("result")["steps"] == 24
    again = resume_after(launcher, "two-again", "step:15")
    assert again.document("result")["weights_sha256"] == launcher.document("result")["weights_sha256"]
    assert again.points() == launcher.points()


def test_a_request_to_stop_saves_and_exits_143(new_job: NewJob) -> None:
    launcher = new_job("stop", {**SMALL, "max_steps": 100_000, "save_steps": 100_000})
    folder = launcher.prepare()
    command = [sys.executable, "-m", "workbench.training.run", str(folder)]
    with subprocess.Popen(
        command, cwd=folder, env=launcher.environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("step 8/" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 143
    assert "Stopped on request." in rest
    saved = checkpoints.newest(launcher.checkpoints)
    assert saved is not None
    assert checkpoints.step_of(saved) >= 8
    assert not (folder / "result.json").exists()
    assert not (folder / "error.json").exists()


def failure(launcher: Launcher) -> dict[str, Any]:
    folder = launcher.prepare()
    command = [sys.executable, "-m", "workbench.training.run", str(folder)]
    done = subprocess.run(command, cwd=folder, env=launcher.environment(), capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "result.json").exists()
    return launcher.document("error")


def test_rows_without_a_trained_token_are_refused_in_words(new_job: NewJob) -> None:
    error = failure(new_job("long", {**SMALL, "max_length": 8}))
    assert error["code"] == "rows.no_trained_token"
    assert "max_length 8" in error["message"]
    assert "\n" not in error["message"]


def test_a_diverged_run_fails_in_words(new_job: NewJob, home: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(home, tmp_path / "home"))
    weights = load_file(broken / "base" / "model.safetensors")
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], float("nan"))
    save_file(weights, broken / "base" / "model.safetensors", metadata={"format": "pt"})
    error = failure(new_job("nan", SMALL, home=broken))
    assert error["code"] == "training.diverged"
    assert "at step 4" in error["message"]


def test_a_base_without_weights_fails_in_words(new_job: NewJob, home: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(home, tmp_path / "home"))
    (bare / "base" / "model.safetensors").unlink()
    error = failure(new_job("bare", SMALL, home=bare))
    assert error["code"] == "model.weights_not_found"
    assert "'base'" in error["message"]


def test_a_fresh_attempt_on_a_plain_base(new_job: NewJob, tmp_path: Path) -> None:
    testing.make_model(tmp_path / "base", hidden_size=32)
    (tmp_path / "base" / "chat_template.jinja").unlink()
    data = testing.store_rows(tmp_path, testing.demo_rows()[:8])
    launcher = new_job("plain", {**SMALL, "max_steps": 4}, home=tmp_path, data=data)
    stale = launcher.checkpoints / "checkpoint-4"
    stale.mkdir(parents=True)
    (stale / "manifest.json").write_text('{"files": {}}')
    done = launcher.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line["step"] for line in launcher.lines()] == [4], "an older run was continued"
    assert not (launcher.attempts[-1] / "resume.json").exists()
    result = launcher.document("result")
    assert result["template"]["source"] == "plain"
    assert ChatTemplate.from_folder(tmp_path / result["model_path"]).sha256 == result["template"]["sha256"]
