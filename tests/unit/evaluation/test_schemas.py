from typing import Any

import pytest
from pydantic import ValidationError

from workbench.core.errors import invalid_input
from workbench.evaluation.schemas import EvaluationSpec

REQUIRED: dict[str, Any] = {"data": {"version_id": "dv_1", "split": "test"}}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: Input should be greater than or equal to 1."),
        ({"batch_size": "many"}, "batch_size: Input should be a valid integer."),
        ({"limit": -1}, "limit: Input should be greater than or equal to 1."),
        ({"baseline": ""}, "baseline: String should have at least 1 character."),
    ],
)
def test_a_bad_field_is_refused_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EvaluationSpec.model_validate({**REQUIRED, **fields})
    assert invalid_input(caught.value, "body").detail == sentence


def test_the_defaults() -> None:
    spec = EvaluationSpec.model_validate(REQUIRED)
    assert (spec.max_new_tokens, spec.batch_size, spec.limit, spec.baseline) == (64, 16, None, None)


def test_every_field_has_a_help_text() -> None:
    assert [name for name, field in EvaluationSpec.model_fields.items() if not field.description] == []
