from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.errors import Invalid, RemoteError
from workbench.datasets.client import Dataset, Datasets
from workbench.datasets.errors import DatasetNotFound

ROWS = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(250)]


@pytest.fixture
def support(datasets: Datasets) -> Dataset:
    return datasets.upload(ROWS, name="support", message="first")


def test_a_file_is_uploaded_under_its_name(datasets: Datasets, tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    dataset = datasets.upload(str(path))
    assert dataset.name == "faq"
    assert dataset.reading == (
        'Read 250 rows of JSON Lines (UTF-8): took column "question" for the prompt and "answer" for the completion.'
    )


def test_rows_need_a_name(datasets: Datasets) -> None:
    with pytest.raises(Invalid, match='pass name="…"'):
        datasets.upload(ROWS)


def test_what_the_user_says_reaches_the_server(datasets: Datasets) -> None:
    dataset = datasets.upload(
        ROWS,
        name="turned",
        prompt="answer",
        completion="question",
        test_fraction=0.5,
        split_seed=9,
        message="turned & tested",
    )
    version = dataset.version
    assert (version.mapping.prompt, version.test_fraction, version.split_seed) == ("answer", 0.5, 9)
    assert version.message == "turned & tested"


def test_a_refusal_is_one_sentence(datasets: Datasets) -> None:
    with pytest.raises(RemoteError, match=r'^rows\.jsonl has no column "ask"; its columns are "question", "answer"\.$'):
        datasets.upload(ROWS, name="x", prompt="ask")
    assert datasets.list() == []


def test_a_missing_file_is_a_missing_file(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        datasets.upload(tmp_path / "nothing.csv")


def test_datasets_are_found_by_name_and_id(datasets: Datasets, support: Dataset) -> None:
    assert datasets["support"].id == support.id
    assert datasets.get(support.id).name == "support"
    assert datasets._ipython_key_completions_() == ["support"]
    assert [dataset.name for dataset in datasets] == ["support"]
    with pytest.raises(DatasetNotFound, match='no dataset named "suport"'):
        datasets["suport"]


def test_splits_know_their_rows(support: Dataset) -> None:
    train, test = support["train"], support["test"]
    assert len(support) == len(train) + len(test) == 250
    assert train.ref.model_dump() == {"version_id": support.version.id, "split": "train"}
    rows = list(train)
    assert len(rows) == train.rows
    assert {row.split for row in rows} == {"train"}
    assert {row.prompt for row in rows}.isdisjoint(row.prompt for row in test)
    assert support._ipython_key_completions_() == ["train", "test", "all"]
    with pytest.raises(KeyError, match="'dev' is no split; choose one of train, test, all"):
        support["dev"]


def test_head_returns_the_first_rows(support: Dataset) -> None:
    assert [row.row_id for row in support.head(3)] == [0, 1, 2]
    assert len(support.head(230)) == 230
    assert len(support["all"].head(1000)) == 250
    assert len(support.head(0)) == 0
    assert {row.split for row in support["test"].head(4)} == {"test"}


def test_a_new_version_keeps_mapping_and_split(datasets: Datasets) -> None:
    first = datasets.upload(ROWS, name="x", prompt="answer", completion="question", test_fraction=0.3, split_seed=4)
    second = first.upload_version([*ROWS, {"question": "more", "answer": "yes"}], message="more")
    version = second.version
    assert (version.number, version.mapping, version.rows) == (2, first.version.mapping, 251)
    assert (version.test_fraction, version.split_seed) == (0.3, 4)
    assert [(v.number, v.message) for v in second.versions()] == [(2, "more"), (1, "")]
    with pytest.raises(RemoteError, match='"x" has a newer version than 1'):
        first.upload_version(ROWS[:100])
    third = second.upload_version(ROWS[:100], test_fraction=0.0)
    assert (third.version.test_rows, datasets["x"].version.number) == (0, 3)


def test_objects_show_themselves_in_few_lines(datasets: Datasets, support: Dataset) -> None:
    for thing in (datasets, support, support["train"], support.head(100)):
        assert 1 <= len(repr(thing).splitlines()) <= 10
    assert repr(support).startswith("Dataset('support', version 1, 250 rows: ")
    assert repr(support["all"]) == "Split('all', 250 rows of version 1)"
    assert repr(datasets) == "Datasets:\nsupport (version 1, 250 rows)"
    assert repr(support.head(12)).splitlines()[-1] == "… 3 more"


def test_the_card_shows_rows_and_escapes_everything(datasets: Datasets) -> None:
    evil = '<script>alert("x")</script>'
    dataset = datasets.upload([{evil: evil, "b": evil}], name="evil", message=evil, prompt=evil)
    for html in (dataset._repr_html_(), dataset["all"]._repr_html_(), dataset.head()._repr_html_()):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
    assert "version 1 · 1 row (" in dataset._repr_html_()


def test_everything_is_a_plain_dict_too(support: Dataset) -> None:
    plain = json.loads(json.dumps(support.dict()))
    assert plain["head"]["mapping"] == {
        **dict.fromkeys(("input", "system", "messages", "chosen", "rejected", "text")),
        "format": "prompt_completion",
        "prompt": "question",
        "completion": "answer",
    }
    assert support["test"].dict() == {**support["test"].ref.model_dump(), "rows": support.version.test_rows}


def test_the_kernel_loads_no_data_libraries() -> None:
    heavy = "{'torch', 'pandas', 'sqlalchemy', 'pyarrow', 'transformers', 'pyroaring', 'numpy'}"
    code = f"import sys, workbench.datasets.client; print({heavy} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert found.stdout.strip() == "set()"
