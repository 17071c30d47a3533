from __future__ import annotations

import stat
from pathlib import Path

import pytest

from workbench import credentials
from workbench.credentials import Credentials, UnsafeCredentials

ADA = Credentials(url="http://127.0.0.1:1", token="wbk_secret", token_id="tok_1")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "workbench" / "credentials.json"


def test_what_is_saved_is_for_its_owner_only(file: Path) -> None:
    assert credentials.load() is None
    assert credentials.save(ADA) == file == credentials.path()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert credentials.load() == ADA
    assert "secret" not in repr(ADA)


def test_saving_again_replaces_a_file_that_was_open_to_others(file: Path) -> None:
    credentials.save(ADA)
    file.chmod(0o644)
    file.parent.chmod(0o755)
    credentials.save(ADA)
    assert credentials.load() == ADA


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    credentials.save(ADA)
    file.chmod(mode)
    with pytest.raises(UnsafeCredentials, match="run `chmod 600` on it"):
        credentials.load()


@pytest.mark.parametrize("content", ["", "{}", '{"url": "wbk_secret"}', "\0"])
def test_a_broken_file_is_named_and_not_repeated(file: Path, content: str) -> None:
    credentials.save(ADA)
    file.write_text(content)
    with pytest.raises(UnsafeCredentials, match="does not hold what `workbench login` writes") as refused:
        credentials.load()
    assert "secret" not in refused.value.detail


def test_forgetting_twice_is_no_error(file: Path) -> None:
    credentials.save(ADA)
    credentials.forget()
    credentials.forget()
    assert not file.exists()
