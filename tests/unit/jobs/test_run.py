from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from workbench.jobs.run import without_token
from workbench.testing import write_attempt


def test_without_a_server_a_notebook_fails_in_one_sentence(tmp_path: Path) -> None:
    folder = write_attempt(tmp_path, "job_1", 1, {"notebook_path": "x.ipynb", "parameters": {}})
    known = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    command = [sys.executable, "-m", "workbench.jobs.run", str(folder)]
    ended = subprocess.run(command, env=known | {"WORKBENCH_HOME": str(tmp_path)}, capture_output=True, timeout=60)
    assert ended.returncode == 1
    error = json.loads((folder / "error.json").read_text())
    assert error["code"] == "server.absent"
    assert error["message"].startswith("No workbench server runs")


@given(st.text())
def test_papermill_writes_any_text_as_that_very_string(text: str) -> None:
    """We rely on papermill's quoting; its unicode-escaped form must never end early."""
    assert ast.literal_eval(PythonTranslator.translate(text)) == text


def test_the_token_is_blotted_out_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_TOKEN", "wbk_secret")
    message = {"header": {"msg_type": "error"}, "content": {"traceback": ["x", "y wbk_secret z"], "data": {"n": 1}}}
    assert without_token(message) == {
        "header": {"msg_type": "error"},
        "content": {"traceback": ["x", "y [token] z"], "data": {"n": 1}},
    }
    harmless = {"content": {"text": "nothing"}}
    assert without_token(harmless) is harmless
