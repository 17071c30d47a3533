import json
from typing import Any

import pytest
from pydantic import ValidationError

from workbench.core.errors import invalid_input
from workbench.training.schemas import LoraSpec, TrainingSpec

REQUIRED: dict[str, Any] = {"base": "qwen", "data": {"version_id": "dv_1", "split": "train"}}


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TrainingSpec.model_validate_json(json.dumps({**REQUIRED, **fields}))
    return invalid_input(caught.value, "body").detail


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"learning_rate": "abc"}, "learning_rate: Input should be a valid number."),
        ({"learning_rate": "0.1"}, "learning_rate: Input should be a valid number."),
        ({"learning_rate": -1}, "learning_rate: Input should be greater than 0."),
        ({"learning_rate": 0}, "learning_rate: Input should be greater than 0."),
        ({"batch_size": 0}, "batch_size: Input should be greater than or equal to 1."),
        ({"batch_size": True}, "batch_size: Input should be a valid integer."),
        ({"batch_size": 8.5}, "batch_size: Input should be a valid integer"),
        ({"max_length": -5}, "max_length: Input should be greater than or equal to 8."),
        ({"epochs": -3}, "epochs: Input should be greater than or equal to 1."),
        ({"weight_decay": "a"}, "weight_decay: Input should be a valid number."),
        ({"scheduler": "foo"}, "scheduler: Input should be 'linear', 'cosine' or 'constant'."),
        ({"warmup_ratio": 0.1}, "warmup_ratio: Extra inputs are not permitted."),
        ({"gradient_checkpointing": "yes"}, "gradient_checkpointing: Input should be a valid boolean."),
        ({"base": ""}, "base: name a base model: a folder on the server, a model in the hub cache, or a version's id."),
        ({"adapter": "lora", "lora": {"r": 0}}, "lora.r: Input should be greater than or equal to 1."),
        ({"epochs": 1, "max_steps": 5}, "body: give epochs or max_steps, not both."),
        ({"lora": {}}, "body: lora is given but adapter is not; set adapter to lora or leave lora out."),
        ({"batch_size": 9, "processes": 2}, "body: batch_size 9 cannot be shared evenly by 2 processes."),
        (
            {"batch_size": 12, "micro_batch_size": 4, "processes": 2},
            "body: batch_size 12 is not a multiple of micro_batch_size x processes = 8.",
        ),
    ],
)
def test_a_bad_field_is_refused_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert refusal(**fields).startswith(sentence)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_numbers_are_finite(text: str) -> None:
    body = json.dumps(REQUIRED)[:-1] + f', "learning_rate": {text}}}'
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate_json(body)


@pytest.mark.parametrize(("adapter", "rate"), [(None, 2e-5), ("lora", 2e-4)])
def test_the_default_learning_rate_fits_what_is_trained(adapter: str | None, rate: float) -> None:
    assert TrainingSpec(**REQUIRED, adapter=adapter).resolved().learning_rate == rate


def test_every_default_is_written_out() -> None:
    full = TrainingSpec(**REQUIRED).resolved()
    assert (full.epochs, full.max_steps, full.micro_batch_size, full.lora) == (3, None, 8, None)
    assert TrainingSpec(**REQUIRED, adapter="lora").resolved().lora == LoraSpec()
    assert TrainingSpec(**REQUIRED, max_steps=5).resolved().epochs is None
    assert full.resolved() == full
    assert TrainingSpec.model_validate_json(full.model_dump_json()) == full


def test_what_is_given_stays() -> None:
    given = TrainingSpec(**REQUIRED, adapter="lora", lora=LoraSpec(r=4), learning_rate=0.5, micro_batch_size=2)
    resolved = given.resolved()
    assert (resolved.lora, resolved.learning_rate, resolved.micro_batch_size) == (LoraSpec(r=4), 0.5, 2)


@pytest.mark.parametrize(
    ("batch", "micro", "processes", "steps"),
    [(16, None, 1, 2), (16, 4, 2, 2), (14, None, 1, 2), (13, None, 1, 13), (3, None, 1, 1)],
)
def test_the_batch_is_what_was_asked_for(batch: int, micro: int | None, processes: int, steps: int) -> None:
    spec = TrainingSpec(**REQUIRED, batch_size=batch, micro_batch_size=micro, processes=processes)
    assert spec.accumulation_steps == spec.resolved().accumulation_steps == steps
    assert spec.resolved().micro_batch_size * steps * processes == batch  # type: ignore[operator]


def test_every_field_has_a_help_text() -> None:
    fields = [*TrainingSpec.model_fields.items(), *LoraSpec.model_fields.items()]
    assert [name for name, field in fields if not field.description] == []
