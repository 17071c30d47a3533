from pathlib import Path

import pytest
import torch

from workbench.datasets.materialise import materialise, read
from workbench.datasets.schemas import DataRef
from workbench.inference.template import ChatTemplate
from workbench.training import sft
from workbench.training.rows import ensure_trainable
from workbench.training.schemas import TrainingSpec
from workbench.training.trainer import ResumableTrainer

SPEC = TrainingSpec(
    base="tiny",
    data={"version_id": "dv", "split": "train"},
    max_steps=2,
    batch_size=8,
    micro_batch_size=4,
    max_length=64,
).resolved()


@pytest.fixture
def trainer(home: Path, data: DataRef, tmp_path: Path) -> ResumableTrainer:
    template = ChatTemplate.from_folder(home / "base")
    rows = ensure_trainable(template, list(read(materialise(home, data))), 64)
    return sft.make_trainer(SPEC, home / "base", rows, tmp_path)


def test_the_labels_of_a_batch_are_the_completions_alone(trainer: ResumableTrainer, home: Path) -> None:
    template = ChatTemplate.from_folder(home / "base")
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["labels"].shape == batch["input_ids"].shape
    trained = [[token for token in row if token != sft.IGNORED] for row in batch["labels"].tolist()]
    texts = {template.tokenizer.decode(ids, skip_special_tokens=False) for ids in trained}
    assert texts <= {
        f"{city}<|im_end|>" for city in ("Paris", "Rome", "Madrid", "Lisbon", "Berlin", "Vienna", "Warsaw")
    }
    assert torch.equal(
        batch["input_ids"][batch["labels"] != sft.IGNORED], batch["labels"][batch["labels"] != sft.IGNORED]
    )


def test_a_prompt_token_does_not_reach_the_loss(trainer: ResumableTrainer) -> None:
    trainer.model.eval()
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.inference_mode():
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = trainer.compute_loss(trainer.model, dict(batch))
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=sft.IGNORED
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_settings_are_those_of_the_spec(trainer: ResumableTrainer) -> None:
    arguments = trainer.args
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (4, 2)
    assert arguments.learning_rate == 2e-5
    assert arguments.report_to == []
    assert not arguments.bf16
    assert not arguments.logging_nan_inf_filter


@pytest.mark.parametrize(("scheduler", "name"), [("linear", "linear"), ("constant", "constant_with_warmup")])
def test_the_scheduler_takes_the_warmup(scheduler: str, name: str, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"scheduler": scheduler, "warmup_steps": 3})
    arguments = sft.arguments(spec, torch.device("cpu"), tmp_path)
    assert (arguments.lr_scheduler_type, arguments.warmup_steps) == (name, 3)
