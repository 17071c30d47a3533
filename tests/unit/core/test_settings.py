from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from workbench.core.settings import FILE, Settings


def test_without_a_url_the_database_is_sqlite_in_the_home(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).resolved_database_url() == f"sqlite:///{tmp_path}/workbench.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_postgresql_url_gets_the_driver_that_we_ship(tmp_path: Path, scheme: str) -> None:
    settings = Settings(home=tmp_path, database_url=f"{scheme}://ada:pw@db/workbench")
    assert settings.resolved_database_url() == "postgresql+psycopg://ada:pw@db/workbench"


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in repr(Settings(home=tmp_path, database_url="postgresql://ada:hunter2@db/workbench"))


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_CPUS", "3")
    monkeypatch.setenv("WORKBENCH_LANGUAGE", "zh-CN")
    settings = Settings()
    assert (settings.home, settings.cpus, settings.language) == (tmp_path, 3, "zh-CN")


@pytest.mark.parametrize(("name", "value"), [("CPUS", "0"), ("GPUS", "-1"), ("LANGUAGE", "fr"), ("AGENT", "maybe")])
def test_a_senseless_value_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"WORKBENCH_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.cpus = 4  # type: ignore[misc]


def test_the_home_is_made_for_its_owner_only(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "deep" / "home").prepare_home()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert Settings(home=home).prepare_home() == home


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:p%23w@h/n",
        "postgresql://a:p w#'\"$x\\@h/n",
        "postgresql://a@h/n?sslmode=require",
        "postgresql://a:b${HOME}c@h/n",
    ],
)
def test_a_setting_that_is_kept_is_found_by_every_process_of_the_home(tmp_path: Path, url: str) -> None:
    (tmp_path / FILE).touch(0o644)
    Settings(home=tmp_path).keep("database_url", url)
    found = Settings(home=tmp_path).database_url
    assert found is not None
    assert found.get_secret_value() == url
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_the_environment_wins_over_the_file_and_an_argument_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text("WORKBENCH_CPUS=2\nWORKBENCH_GPUS=1\nOTHER=x\n")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert (Settings().cpus, Settings().gpus) == (2, 1)
    monkeypatch.setenv("WORKBENCH_CPUS", "3")
    assert Settings().cpus == 3
    assert Settings(cpus=4).cpus == 4
