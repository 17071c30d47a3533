"""Dashboards under Voilà: read by people whom the main server knows, changed and run by nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from people import access_token, make_user
from servers import Lab, processes_of, running_lab, until
from sqlalchemy import select
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from workbench.accounts.roles import LIMITS
from workbench.accounts.tables import AccessToken, User
from workbench.core.clock import utcnow
from workbench.core.settings import Settings

KERNEL = re.compile(r'"kernelId": "([0-9a-f-]{36})"')
IDLE_SECONDS = 1


class Dashboards:
    """A dashboards process, and its owner's browser session with it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        command = [sys.executable, "-m", "workbench", "dashboards", "--no-browser", "--port", "0", "--home", str(home)]
        with (home / "dashboards.log").open("ab") as log:
            variables = {"WORKBENCH_DASHBOARD_IDLE_SECONDS": str(IDLE_SECONDS), "SERVER_SECRET": "seen"}
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=os.environ | variables)
        assert self.process.stdout is not None
        where = json.loads(self.process.stdout.readline())
        self.url, self.ticket = where["url"], where["ticket"]
        self.client = httpx.Client(base_url=self.url, timeout=60, follow_redirects=True)

    def login(self) -> None:
        self.client.get("/", params={"ticket": self.ticket})

    def open(self, name: str) -> str:
        """Open a dashboard and return its kernel's id."""
        page = self.client.get(f"/voila/render/{name}")
        page.raise_for_status()
        found = KERNEL.search(page.text)
        assert found is not None, page.text[:2000]
        return found[1]

    def channel(self, kernel_id: str) -> ClientConnection:
        cookie = "; ".join(f"{each.name}={each.value}" for each in self.client.cookies.jar)
        url = f"{self.url.replace('http', 'ws', 1)}api/kernels/{kernel_id}/channels"
        return connect(url, additional_headers={"Cookie": cookie, "Origin": self.url.rstrip("/")})

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("dashboards") / "home") as lab:
        yield lab


@pytest.fixture(scope="module")
def dashboards(lab: Lab) -> Iterator[Dashboards]:
    dashboards = Dashboards(lab.home)
    dashboards.login()
    yield dashboards
    dashboards.close()


def message(kind: str, content: dict[str, object]) -> str:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
    }
    parts = {"parent_header": {}, "metadata": {}, "buffers": [], "channel": "shell"}
    return json.dumps({"header": header | {"date": ""}, "content": content, **parts})


def kernel_environment(kernel_id: str, home: Path) -> dict[str, str]:
    """Return the environment of a kernel's process."""
    (line,) = [line for line in processes_of(home) if kernel_id in line]
    content = Path(f"/proc/{line.split()[0]}/environ").read_text()
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


@pytest.mark.parametrize(
    "path",
    ["", "voila/render/runs.ipynb", "voila/files/runs.ipynb", "voila/tree", "voila/api/contents", "api/kernels"],
)
def test_a_stranger_gets_nothing(dashboards: Dashboards, path: str) -> None:
    answer = httpx.get(f"{dashboards.url}{path}", headers={"Authorization": "Bearer wbk_guess"})
    assert answer.status_code in (302, 403, 404), answer.text[:500]
    assert "kernelId" not in answer.text
    assert "workbench.ipynb" not in answer.text


def test_a_stranger_gets_no_channel(dashboards: Dashboards) -> None:
    kernel_id = dashboards.open("runs.ipynb")
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{dashboards.url.replace('http', 'ws', 1)}api/kernels/{kernel_id}/channels")


def test_a_token_or_a_used_ticket_opens_nothing(dashboards: Dashboards, lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {lab.token}"}
    assert httpx.get(dashboards.url, headers=headers, params={"token": lab.token}).status_code == 302
    assert httpx.get(dashboards.url, params={"ticket": dashboards.ticket}).status_code == 302


def test_a_stranger_is_sent_to_the_main_server_and_back_with_a_ticket(dashboards: Dashboards, lab: Lab) -> None:
    with httpx.Client(timeout=60) as browser:
        door = browser.get(f"{dashboards.url}voila/render/runs.ipynb", follow_redirects=True)
        assert str(door.url).startswith(f"{lab.url}login?next=")
        browser.get(f"{lab.url}login", params={"token": lab.token})
        browser.get(f"{lab.url}lab", params={"token": lab.token})
        page = browser.get(f"{dashboards.url}voila/render/runs.ipynb", follow_redirects=True)
        assert page.url.copy_with(query=None) == f"{dashboards.url}voila/render/runs.ipynb"
        assert KERNEL.search(page.text) is not None
        assert "no-store" in browser.get(f"{lab.url}workbench/dashboards").headers.get("Cache-Control", "no-store")


@pytest.fixture
def eve(lab: Lab, dashboards: Dashboards) -> Iterator[httpx.Client]:
    """Another visitor's browser, which came in by the main server."""
    database = lab.database()
    with database.write() as session:
        user = session.scalar(select(User).where(User.name == "Eve")) or make_user(session, "Eve", "reviewer")
        token = access_token(session, Settings(home=lab.home), user)
    database.close()
    with httpx.Client(base_url=dashboards.url, timeout=60, follow_redirects=True) as browser:
        headers = {"Authorization": f"Bearer {token}"}
        where = httpx.get(f"{lab.url}workbench/dashboards", headers=headers).headers["Location"]
        assert browser.get(where).status_code == 200
        yield browser


def test_a_kernel_is_its_visitors_alone(dashboards: Dashboards, eve: httpx.Client, lab: Lab) -> None:
    kernel_id = dashboards.open("runs.ipynb")
    with dashboards.channel(kernel_id):
        assert dashboards.client.get(f"/api/kernels/{kernel_id}").status_code == 200
        assert eve.get(f"/api/kernels/{kernel_id}").status_code == 404
        header = {"X-XSRFToken": eve.cookies.get("_xsrf", "")}
        for method, path in (("DELETE", f"/api/kernels/{kernel_id}"), ("POST", f"/voila/api/shutdown/{kernel_id}")):
            assert eve.request(method, path, headers=header).status_code in (403, 404, 405), path
        assert eve.get("/api/kernels").status_code == 404
        cookie = "; ".join(f"{each.name}={each.value}" for each in eve.cookies.jar)
        url = f"{dashboards.url.replace('http', 'ws', 1)}api/kernels/{kernel_id}/channels"
        with pytest.raises(InvalidStatus, match="404"):
            connect(url, additional_headers={"Cookie": cookie, "Origin": dashboards.url.rstrip("/")})
        assert any(kernel_id in line for line in processes_of(lab.home))


def test_a_visitors_kernel_acts_as_the_visitor_and_ends_with_the_account(
    dashboards: Dashboards, eve: httpx.Client, lab: Lab
) -> None:
    found = KERNEL.search(eve.get("/voila/render/runs.ipynb").text)
    assert found is not None
    headers = {"Authorization": f"Bearer {kernel_environment(found[1], lab.home)['WORKBENCH_TOKEN']}"}
    me = httpx.get(f"{lab.url}api/auth/me", headers=headers).json()
    assert (me["name"], set(me["permissions"])) == ("Eve", set(LIMITS["viewer"]))
    database = lab.database()
    with database.write() as session:
        session.scalars(select(User).where(User.name == "Eve")).one().disabled_at = utcnow()
    assert httpx.get(f"{lab.url}api/auth/me", headers=headers).status_code == 401
    assert str(eve.get("/voila/render/runs.ipynb").url).startswith(f"{lab.url}login")
    with database.write() as session:
        session.scalars(select(User).where(User.name == "Eve")).one().disabled_at = None
    database.close()


def test_the_list_speaks_the_readers_language(dashboards: Dashboards) -> None:
    english = dashboards.client.get("/", headers={"Accept-Language": "de, en;q=0.5"}).text
    chinese = dashboards.client.get("/", headers={"Accept-Language": "zh-TW,zh;q=0.9,en;q=0.5"}).text
    assert "Lineage" in english
    assert "谱系" in chinese
    assert all(f"{name}.ipynb" in english for name in ("runs", "queue", "comparison", "lineage"))


def test_only_dashboards_are_served(dashboards: Dashboards) -> None:
    for path in ("../workbench.ipynb", "..%2Fworkbench.ipynb", "workbench.ipynb", "/etc/passwd"):
        answer = dashboards.client.get(f"/voila/render/{path}")
        assert "kernelId" not in answer.text, path
        assert answer.status_code in (400, 403, 404, 500), path


def test_code_over_the_channel_is_not_run(dashboards: Dashboards, tmp_path: Path) -> None:
    mark = tmp_path / "run"
    code = f"open({str(mark)!r}, 'w').close()"
    with dashboards.channel(dashboards.open("runs.ipynb")) as channel:
        channel.send(message("execute_request", {"code": code, "silent": False, "store_history": False}))
        channel.send(message("comm_info_request", {}))
        kinds = []
        while "comm_info_reply" not in kinds:
            kinds.append(json.loads(channel.recv(timeout=30))["header"]["msg_type"])
    assert "execute_reply" not in kinds
    assert not mark.exists()


def test_a_dashboards_kernel_may_read_only(dashboards: Dashboards, lab: Lab) -> None:
    with dashboards.channel(kernel_id := dashboards.open("lineage.ipynb")):
        environment = kernel_environment(kernel_id, lab.home)
    headers = {"Authorization": f"Bearer {environment['WORKBENCH_TOKEN']}"}
    assert environment["WORKBENCH_URL"] == lab.url
    assert environment["WORKBENCH_LANGUAGE"] == "en"
    assert dashboards.ticket not in environment.values()
    assert "QUERY_STRING" not in environment
    with httpx.Client(base_url=lab.url, headers=headers) as client:
        assert client.get("api/auth/me").json()["id"] == "owner"
        assert client.get("api/models").status_code == 200
        assert client.post("api/models", json={"base": "/"}).status_code == 403
        assert client.post("api/jobs/job_1/cancel").status_code == 403
        assert client.get("api/kernels").status_code == 403
        assert client.get("api/contents").status_code == 403


def test_nothing_is_asked_of_another_host(dashboards: Dashboards) -> None:
    answer = dashboards.client.get("/voila/render/comparison.ipynb")
    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+", answer.text) == []
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_a_kernel_that_nobody_watches_ends_with_its_token(dashboards: Dashboards, lab: Lab) -> None:
    kernel_id = dashboards.open("runs.ipynb")
    assert any(kernel_id in line for line in processes_of(lab.home))
    database = lab.database()

    def culled() -> bool:
        with database.read() as session:
            tokens = session.scalars(select(AccessToken).where(AccessToken.holder_id == kernel_id)).all()
        running = any(kernel_id in line for line in processes_of(lab.home))
        return not running and all(token.revoked_at is not None for token in tokens)

    until(culled, 60, "the end of an unwatched kernel")
    database.close()


def test_stop_ends_dashboards_too(tmp_path: Path) -> None:
    with running_lab(tmp_path / "home") as lab:
        dashboards = Dashboards(lab.home)
        dashboards.login()
        dashboards.open("runs.ipynb")
        subprocess.run([sys.executable, "-m", "workbench", "stop", "--home", str(lab.home)], check=True, timeout=150)
        assert dashboards.process.wait(timeout=5) is not None
        dashboards.close()
        assert processes_of(lab.home) == []
        assert list((lab.home / "dashboards").iterdir()) == []


def test_without_a_server_there_are_no_dashboards(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workbench", "dashboards", "--no-browser", "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.strip().startswith(f"workbench: No workbench server runs for {tmp_path}; start one with")
    assert len(ended.stderr.strip().splitlines()) == 1
