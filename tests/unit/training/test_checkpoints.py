import json
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.training import checkpoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def write(folder: Path, step: int) -> Path:
    staged = checkpoints.stage(folder) / f"checkpoint-{step}"
    (staged / "nested").mkdir(parents=True)
    (staged / "model.safetensors").write_bytes(b"weights" * step)
    (staged / "nested" / "state.json").write_text("{}")
    return checkpoints.commit(staged, folder)


def test_a_committed_checkpoint_is_the_newest(folder: Path) -> None:
    final = write(folder, 10)
    assert checkpoints.newest(folder) == final == folder / "checkpoint-10"
    assert checkpoints.step_of(final) == 10
    assert [path.name for path in folder.iterdir()] == ["checkpoint-10"]


def test_steps_are_compared_as_numbers_and_two_are_kept(folder: Path) -> None:
    for step in (8, 9, 10):
        write(folder, step)
    assert {path.name for path in folder.iterdir()} == {"checkpoint-9", "checkpoint-10"}
    assert checkpoints.newest(folder) == folder / "checkpoint-10"


def truncate(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"weig")


def flip(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(b"W" + path.read_bytes()[1:])


def remove(checkpoint: Path) -> None:
    (checkpoint / "nested" / "state.json").unlink()


def lose_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()


def cut_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text('{"files": {')


@pytest.mark.parametrize("damage", [truncate, flip, remove, lose_manifest, cut_manifest])
def test_a_damaged_checkpoint_is_passed_over_and_discarded(folder: Path, damage: Callable[[Path], None]) -> None:
    older = write(folder, 1)
    damage(write(folder, 2))
    assert checkpoints.newest(folder) == older
    checkpoints.discard_incomplete(folder)
    assert list(folder.iterdir()) == [older]


def test_what_a_killed_writer_left_is_removed(folder: Path) -> None:
    (checkpoints.stage(folder) / "checkpoint-3").mkdir()
    assert checkpoints.newest(folder) is None
    assert list(checkpoints.stage(folder).iterdir()) == []
    checkpoints.discard_incomplete(folder)
    assert list(folder.iterdir()) == []


def test_a_step_can_be_saved_again(folder: Path) -> None:
    write(folder, 5)
    flip(folder / "checkpoint-5")
    write(folder, 5)
    assert checkpoints.newest(folder) == folder / "checkpoint-5"


def test_the_manifest_lists_every_file(folder: Path) -> None:
    files = json.loads((write(folder, 2) / "manifest.json").read_text())["files"]
    assert set(files) == {"model.safetensors", "nested/state.json"}
    assert files["model.safetensors"]["size_bytes"] == 14


def test_there_may_be_none(folder: Path) -> None:
    assert checkpoints.newest(folder) is None
    with pytest.raises(ValueError, match="not the name of a checkpoint"):
        checkpoints.step_of(folder)
