from pathlib import Path

import pytest

from workbench import testing
from workbench.inference.weights import WeightsNotFound, tensors, weights_sha256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.make_model(tmp_path_factory.mktemp("model"), hidden_size=32)


def test_the_digest_does_not_depend_on_how_tensors_are_spread_over_files(folder: Path, tmp_path: Path) -> None:
    import transformers

    network = transformers.AutoModelForCausalLM.from_pretrained(folder)
    network.save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert weights_sha256(tmp_path / "sharded") == weights_sha256(folder)


def test_the_digest_changes_with_one_bit(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weights_sha256(tmp_path) != weights_sha256(folder)


def test_tensors_are_listed_by_name(folder: Path) -> None:
    found = {entry.name: entry for entry in tensors(folder)}
    assert list(found) == sorted(found)
    assert found["lm_head.weight"].shape[1] == 32
    assert found["lm_head.weight"].dtype == "F32"


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsNotFound, match="only safetensors weights are read"):
        weights_sha256(tmp_path)
