from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from workbench.registry.folders import BaseModelInvalid, BaseModelNotFound, fingerprint, locate

from .conftest import MakeFolder


def test_a_folder_is_found(make_folder: MakeFolder) -> None:
    folder = make_folder()
    assert locate(str(folder)) == folder


def test_a_folder_is_found_under_the_home_directory(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder()
    monkeypatch.setenv("HOME", str(folder.parent))
    assert locate("~/tiny") == folder


def test_a_link_is_followed_so_that_one_model_has_one_path(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    (tmp_path / "link").symlink_to(folder)
    assert locate(str(tmp_path / "link")) == folder


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "safetensors weights"),
        ("tokenizer.json", "tokenizer.json"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_by_name(make_folder: MakeFolder, missing: str, named: str) -> None:
    folder = make_folder()
    (folder / missing).unlink()
    with pytest.raises(BaseModelInvalid, match=rf"{folder} holds no {named}"):
        locate(str(folder))


@pytest.mark.parametrize(
    "base", ["nobody/no-such-model", "no-such-model", "/no/such/folder", "a b c", "~nobody-here/x", "x" * 999]
)
def test_an_unknown_base_is_one_sentence(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(BaseModelNotFound) as caught:
        locate(base)
    assert caught.value.detail.startswith(f"There is no base model “{base}”: it is neither a model version, nor")
    assert ". " not in caught.value.detail


def test_a_model_in_the_hub_cache_is_found_by_its_id(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = "a" * 40
    cached = tmp_path / "hub" / "models--ada--tiny"
    shutil.copytree(make_folder(), cached / "snapshots" / revision)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate("ada/tiny") == cached / "snapshots" / revision


def test_the_same_content_has_the_same_fingerprint(make_folder: MakeFolder) -> None:
    folder = make_folder()
    assert fingerprint(folder) == fingerprint(folder)


def test_another_config_is_another_model(make_folder: MakeFolder) -> None:
    folder = make_folder(vocabulary=100)
    before = fingerprint(folder)
    (folder / "config.json").write_text('{"vocab_size": 101}')
    assert fingerprint(folder) != before


def test_other_weights_are_another_model(make_folder: MakeFolder) -> None:
    folder = make_folder()
    before = fingerprint(folder)
    make_folder(weight=b"\1\2\3\5")
    later = (folder / "model.safetensors").stat().st_mtime_ns + 1_000_000
    os.utime(folder / "model.safetensors", ns=(later, later))
    assert fingerprint(folder) != before


def test_files_that_are_not_the_model_do_not_matter(make_folder: MakeFolder) -> None:
    folder = make_folder()
    before = fingerprint(folder)
    (folder / "README.md").write_text("A tiny model.")
    assert fingerprint(folder) == before


def test_a_renamed_file_is_another_model(make_folder: MakeFolder) -> None:
    folder = make_folder()
    before = fingerprint(folder)
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    assert fingerprint(folder) != before
