"""Stored samples, read back as pages."""

from pathlib import Path

import pytest

from workbench.evaluation.samples import page, read
from workbench.evaluation.schemas import ModelScore, Role, Sample, SamplesPage, SamplesQuery

#: answers of base and tuned; "yes" is right
ANSWERS = [("no", "yes"), ("yes", "no"), ("yes", "yes"), ("no", "never"), ("perhaps", "yes")]


def write(home: Path, role: Role, answers: list[str]) -> ModelScore:
    lines = [
        Sample(
            row_id=row,
            prompt=f"Frage {row}: Straße?",
            expected="yes",
            answer=answer,
            exact_match=answer == "yes",
            chrf=float(len(answer)),
            nll=1.0 + row,
            tokens=1,
            prompt_tokens=[],
        ).model_dump_json()
        for row, answer in enumerate(answers)
    ]
    (home / f"{role}.jsonl").write_text("\n".join(lines) + "\n")
    return ModelScore.model_construct(version_id=f"mv_{role}", role=role, samples_path=f"{role}.jsonl")


@pytest.fixture
def scores(tmp_path: Path) -> list[ModelScore]:
    base, tuned = zip(*ANSWERS, strict=True)
    return [write(tmp_path, "base", list(base)), write(tmp_path, "tuned", list(tuned))]


def rows(found: SamplesPage) -> list[int]:
    return [row.row_id for row in found.items]


def test_counts_are_of_all_rows_not_of_the_page(tmp_path: Path, scores: list[ModelScore]) -> None:
    found = page(read(tmp_path, scores), SamplesQuery(limit=1, filter="gained", offset=1), "exact_match")
    assert (rows(found), found.total) == ([4], 2)
    assert found.counts == {"all": 5, "gained": 2, "lost": 1, "both": 1, "neither": 1}


@pytest.mark.parametrize(
    ("search", "expected"),
    [("PERHAPS", [4]), ("frage 2", [2]), ("STRASSE", [0, 1, 2, 3, 4]), ("never", [3]), ("nowhere", [])],
)
def test_a_search_reads_prompts_and_answers(
    tmp_path: Path, scores: list[ModelScore], search: str, expected: list[int]
) -> None:
    found = page(read(tmp_path, scores), SamplesQuery(search=search), "exact_match")
    assert rows(found) == expected
    assert found.counts["all"] == found.total == len(expected)


def test_rows_come_in_the_order_of_their_change(tmp_path: Path, scores: list[ModelScore]) -> None:
    gain = page(read(tmp_path, scores), SamplesQuery(sort="gain"), "exact_match")
    assert rows(gain) == [0, 4, 3, 2, 1], "by exact match, then by chrF"
    loss = page(read(tmp_path, scores), SamplesQuery(sort="loss"), "exact_match")
    assert rows(loss) == [1, 2, 3, 4, 0]


def test_a_model_alone_has_gained_what_it_answers_right(tmp_path: Path, scores: list[ModelScore]) -> None:
    found = page(read(tmp_path, scores[1:]), SamplesQuery(sort="gain"), "exact_match")
    assert (found.counts["gained"], found.counts["neither"]) == (3, 2)
    assert rows(found) == [0, 1, 2, 3, 4]
