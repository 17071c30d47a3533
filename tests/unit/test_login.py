from __future__ import annotations

from pathlib import Path

import pytest

from workbench import credentials, login
from workbench.core.errors import Unauthenticated
from workbench.core.http import ServerUnreachable
from workbench.credentials import Credentials


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: text)


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(login.NoServerHere, match="start `workbench lab`, or name the server by --url"):
        login.login(tmp_path, None, token_stdin=True)


@pytest.mark.parametrize("text", ["", "\n", "tök\n", "a\0b\n"])
def test_no_token_is_asked_for_again(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, text)
    with pytest.raises(Unauthenticated):
        login.login(tmp_path, "http://127.0.0.1:1", token_stdin=True)


def test_a_server_that_is_away_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "sesame\n")
    with pytest.raises(ServerUnreachable):
        login.login(tmp_path, "http://127.0.0.1:1", token_stdin=True)
    assert credentials.load() is None


def test_who_is_not_logged_in_cannot_log_out() -> None:
    with pytest.raises(login.NotLoggedIn):
        login.logout()


def test_a_token_that_could_not_be_revoked_is_kept() -> None:
    known = Credentials(url="http://127.0.0.1:1", token="wbk_x", token_id="tok_1")
    credentials.save(known)
    with pytest.raises(ServerUnreachable):
        login.logout()
    assert credentials.load() == known
