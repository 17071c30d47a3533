from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from workbench.datasets.schemas import DatasetUpload, RowsQuery, VersionUpload


@pytest.mark.parametrize(
    ("schema", "field", "value"),
    [
        (DatasetUpload, "test_fraction", 0.91),
        (DatasetUpload, "test_fraction", -0.1),
        (DatasetUpload, "test_fraction", "nan"),
        (DatasetUpload, "split_seed", -1),
        (DatasetUpload, "name", ""),
        (DatasetUpload, "name", "a\0b"),
        (DatasetUpload, "name", "../etc"),
        (DatasetUpload, "message", "a\0b"),
        (DatasetUpload, "prompt", "a\0b"),
        (DatasetUpload, "filename", ""),
        (DatasetUpload, "delimiter", ","),
        (VersionUpload, "parent", None),
        (VersionUpload, "test_fraction", None),
        (RowsQuery, "offset", -1),
        (RowsQuery, "limit", 201),
        (RowsQuery, "split", "validation"),
    ],
)
def test_what_cannot_be_meant_is_refused(schema: type[BaseModel], field: str, value: Any) -> None:
    valid: dict[str, Any] = {}
    if schema is not RowsQuery:
        valid = {"filename": "x.csv"}
    if schema is VersionUpload:
        valid |= {"parent": "dsv_1", "test_fraction": 0.1, "split_seed": 0}
    schema.model_validate(valid)
    with pytest.raises(ValidationError) as refused:
        schema.model_validate({**valid, field: value})
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]


def test_a_query_string_is_enough() -> None:
    query = DatasetUpload.model_validate({"filename": "x.csv", "test_fraction": "0.25", "split_seed": "3"})
    assert (query.test_fraction, query.split_seed, query.name) == (0.25, 3, None)
