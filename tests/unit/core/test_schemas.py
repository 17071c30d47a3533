from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from workbench.core.schemas import Name, Page, PageQuery, Time


def test_a_page_reads_back_as_it_was_written() -> None:
    page = Page[int](items=[1, 2], next_cursor="x")
    assert Page[int].model_validate_json(page.model_dump_json()) == page


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="ofset"):
        PageQuery.model_validate({"ofset": 3})


@pytest.mark.parametrize("limit", [0, 201])
def test_a_page_has_a_bound(limit: int) -> None:
    with pytest.raises(ValidationError):
        PageQuery(limit=limit)


@pytest.mark.parametrize("name", ["support", "Kundenanfragen 2026.1", "数据", "a-b_c"])
def test_names_may_be_in_any_language(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("name", ["", " x", "../etc", "a/b", "x" * 129, "a\nb", "<b>", "a\0"])
def test_a_name_is_not_a_path_nor_markup(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python("2026-11-22T10:00:00")
    assert TypeAdapter(Time).validate_python("2026-11-22T10:00:00Z").tzinfo is not None
