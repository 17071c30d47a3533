from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench
from workbench import credentials
from workbench.core.errors import Invalid
from workbench.core.http import HTTP, ServerUnreachable
from workbench.credentials import Credentials
from workbench.datasets.client import Split
from workbench.datasets.schemas import SplitRef, Version
from workbench.session import NoServer, Workbench, connect

URL = "http://127.0.0.1:1/lab/"  # nothing listens on port 1


@pytest.fixture
def wb() -> Iterator[Workbench]:
    wb = connect(URL, "sesame")
    yield wb
    wb.http.close()


@pytest.fixture
def data(wb: Workbench) -> Split:
    return Split(wb.http, Version.model_construct(id="dsv_1"), SplitRef(version_id="dsv_1", split="train"))


@pytest.fixture(autouse=True)
def _no_server_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_URL", raising=False)
    monkeypatch.delenv("WORKBENCH_TOKEN", raising=False)


def test_a_kernel_connects_by_what_the_server_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_URL", URL)
    monkeypatch.setenv("WORKBENCH_TOKEN", "sesame")
    wb = workbench.connect()
    assert isinstance(wb, workbench.Workbench)
    assert repr(wb) == "<Workbench at http://127.0.0.1:1/lab>"


@pytest.mark.parametrize("given", [{}, {"url": URL}, {"token": "sesame"}])
def test_without_a_server_the_error_says_what_to_do(given: dict[str, str]) -> None:
    with pytest.raises(NoServer, match=r"that `workbench lab` opened, give connect.*or run `workbench login` once"):
        connect(**given)


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_URL", "http://127.0.0.1:2/")
    monkeypatch.setenv("WORKBENCH_TOKEN", "other")
    assert connect(URL).http.url == "http://127.0.0.1:1/lab"


def test_the_login_comes_last_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.save(Credentials(url="http://127.0.0.1:3", token="wbk_mine", token_id="tok_1"))
    wb = connect()
    assert (wb.http.url, wb.http.token) == ("http://127.0.0.1:3", "wbk_mine")
    for half in ({"url": URL}, {"token": "sesame"}):
        with pytest.raises(NoServer):
            connect(**half)
    monkeypatch.setenv("WORKBENCH_URL", URL)
    with pytest.raises(NoServer):
        connect()
    monkeypatch.setenv("WORKBENCH_TOKEN", "sesame")
    assert connect().http.url == "http://127.0.0.1:1/lab"


def test_a_wrong_training_option_is_refused_before_anything_is_sent(wb: Workbench, data: Split) -> None:
    with pytest.raises(Invalid, match=r"^learning_rate: "):
        wb.train(base="Qwen/Qwen3-0.6B", data=data, learning_rate="abc")
    with pytest.raises(Invalid, match=r"^learning_rat: Extra inputs are not permitted"):
        wb.train(base="Qwen/Qwen3-0.6B", data=data, learning_rat=1e-4)


def test_a_server_that_is_away_is_named(wb: Workbench, data: Split) -> None:
    with pytest.raises(ServerUnreachable, match=r"http://127\.0\.0\.1:1/lab does not answer"):
        wb.train(base="Qwen/Qwen3-0.6B", data=data)


def test_objects_share_the_connection(wb: Workbench) -> None:
    assert isinstance(wb.http, HTTP)
    assert wb.runs["job_1"].http is wb.jobs["job_1"].http is wb.http


def test_a_notebook_stays_light() -> None:
    """What a kernel imports to connect loads neither torch nor the server's libraries."""
    heavy = "torch transformers pandas sqlalchemy pyarrow tornado.web jupyter_server"
    code = f"import sys, workbench; workbench.connect; print([m for m in {heavy.split()!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = workbench.conect
