"""Panels speak the language that JupyterLab is set to."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil
import pytest
from servers import Lab, running_lab

from workbench_server.language import accepted_language, closest

SETTING = "lab/api/settings/@jupyterlab/translation-extension:plugin"


def language_of_a_new_kernel(lab: Lab, client: httpx.Client) -> str | None:
    kernel = client.post("api/kernels", json={"name": "python3"}).json()["id"]
    (process,) = [each for each in psutil.Process(lab.process.pid).children(recursive=True) if runs(each, kernel)]
    language = process.environ().get("WORKBENCH_LANGUAGE")
    client.delete(f"api/kernels/{kernel}").raise_for_status()
    return language


def runs(process: psutil.Process, kernel: str) -> bool:
    return any(kernel in word for word in process.cmdline())


def test_a_kernel_is_told_what_language_the_lab_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_LANGUAGE", raising=False)
    with running_lab(tmp_path / "home", JUPYTER_CONFIG_DIR=str(tmp_path / "config")) as lab:
        headers = {"Authorization": f"Bearer {lab.token}"}
        with httpx.Client(base_url=lab.url, headers=headers, timeout=60) as client:
            assert language_of_a_new_kernel(lab, client) is None
            for locale, language in (("zh_CN", "zh-CN"), ("en", "en")):
                client.put(SETTING, json={"raw": f'{{"locale": "{locale}"}}'}).raise_for_status()
                assert language_of_a_new_kernel(lab, client) == language


def test_what_the_operator_has_set_wins(tmp_path: Path) -> None:
    given = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "WORKBENCH_LANGUAGE": "zh-CN"}
    with running_lab(tmp_path / "home", **given) as lab:
        headers = {"Authorization": f"Bearer {lab.token}"}
        with httpx.Client(base_url=lab.url, headers=headers, timeout=60) as client:
            client.put(SETTING, json={"raw": '{"locale": "en"}'}).raise_for_status()
            assert language_of_a_new_kernel(lab, client) == "zh-CN"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh-Hant-TW", "zh-CN"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr, zh-CN;q=0.3", "zh-CN"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
    ],
)
def test_a_browser_is_answered_in_the_first_language_that_we_have(header: str, language: str) -> None:
    assert accepted_language(header) == language


def test_every_chinese_locale_is_chinese() -> None:
    assert [closest(locale) for locale in ("zh_CN", "zh-TW", "ZH", "en", "de_DE")] == ["zh-CN"] * 3 + ["en"] * 2
