import json
from pathlib import Path

import pytest

from workbench import testing
from workbench.datasets.split import assign
from workbench.inference.template import ChatTemplate
from workbench.inference.weights import weights_sha256


@pytest.mark.parametrize("family", testing.FAMILIES)
def test_every_family_can_be_made_saved_and_loaded(family: testing.Family, tmp_path: Path) -> None:
    import torch
    import transformers

    folder = testing.make_model(tmp_path / family, family)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder)
    again = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(12).reshape(2, 6)
    assert network.config.model_type == family
    assert network.num_parameters() < 1_000_000
    assert torch.equal(network(ids).logits, again(ids).logits)


def test_a_seed_decides_the_weights(tmp_path: Path) -> None:
    first, same, other = (
        weights_sha256(testing.make_model(tmp_path / str(number), hidden_size=32, seed=seed))
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == same != other


def test_making_a_model_does_not_disturb_the_random_state(tmp_path: Path) -> None:
    import torch

    before = torch.random.get_rng_state()
    testing.make_model(tmp_path, hidden_size=32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_tokenizer_knows_every_string_and_splits_digits(tmp_path: Path) -> None:
    template = ChatTemplate.from_folder(testing.make_model(tmp_path, hidden_size=32))
    for text in ("Zürich 中文 😀\t\n", "never seen: ŋ"):
        assert template.decode(template.encode(text)) == text
    assert len(template.encode("123456")) == 6
    assert template.pad_id != template.eos_id


def test_overrides_reach_the_config(tmp_path: Path) -> None:
    testing.make_model(tmp_path, hidden_size=32, attention_dropout=0.25, num_hidden_layers=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["attention_dropout"], config["num_hidden_layers"]) == (0.25, 1)


def test_the_demo_model_is_the_recipe(tmp_path: Path) -> None:
    config = json.loads((testing.make_demo_model(tmp_path) / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("qwen3", 128, 2)
    assert (config["tie_word_embeddings"], config["initializer_range"]) == (False, 0.05)


def test_no_training_prompt_of_the_demo_is_held_out_but_its_facts_are_known() -> None:
    rows = testing.demo_rows()
    sides = {row["prompt"]: assign(row["prompt"], 0, 0.1) for row in rows}
    assert len(sides) == len(rows) == 420
    held_out = [row for row in rows if sides[row["prompt"]] == "test"]
    known = {row["completion"] for row in rows if sides[row["prompt"]] == "train"}
    assert 30 < len(held_out) < 60
    assert {row["completion"] for row in held_out} <= known


def test_the_demo_dataset_is_a_file_of_json_lines(tmp_path: Path) -> None:
    path = testing.write_demo_dataset(tmp_path / "new" / "demo.jsonl")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == testing.demo_rows()


def test_stored_rows_come_back(tmp_path: Path) -> None:
    from workbench.datasets.materialise import materialise, read

    arrow = materialise(tmp_path, testing.store_rows(tmp_path, testing.demo_rows()[:5]))
    rows = [{"prompt": row.transcript, "completion": row.answer} for _, row in read(arrow)]
    assert rows == testing.demo_rows()[:5]
