from __future__ import annotations

import pytest

from workbench.core.environment import scrubbed


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "JUPYTER_TOKEN",
        "JPY_API_TOKEN",
        "WORKBENCH_DATABASE_URL",
        "WORKBENCH_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "WANDB_API_KEY",
        "LD_PRELOAD",
    ],
)
def test_secrets_of_the_server_do_not_reach_a_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "hunter2")
    assert "hunter2" not in scrubbed({}).values()


@pytest.mark.parametrize("name", ["PATH", "HOME", "LC_ALL", "HF_HOME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"])
def test_what_programs_need_reaches_a_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "kept")
    assert scrubbed({})[name] == "kept"


def test_what_is_given_is_added_and_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/old")
    child = scrubbed({"HF_HOME": "/new", "WORKBENCH_TOKEN": "its own"})
    assert (child["HF_HOME"], child["WORKBENCH_TOKEN"]) == ("/new", "its own")
