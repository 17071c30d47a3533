"""The security boundary holds however the server was launched."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from people import access_token, make_user
from servers import Lab, running_lab, until
from sqlalchemy import select
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from workbench.accounts.roles import Role
from workbench.accounts.tables import User
from workbench.core.settings import Settings

HOSTILE_CONFIG = """
c.ServerApp.identity_provider_class = "jupyter_server.auth.identity.IdentityProvider"
c.ServerApp.authorizer_class = "jupyter_server.auth.authorizer.AllowAllAuthorizer"
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.jpserver_extensions = {"boundary_probe": True, "voila.server_extension": True}
"""

#: What strangers may call; without a body it is refused for that.
PUBLIC = {f"/api/auth/{name}" for name in ("register", "verify", "verify/resend", "login", "refresh")}
PUBLIC |= {"/api/auth/password/forgot", "/api/auth/password/reset"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, dict[str, Any]]]:
    """A plain `jupyter lab` whose configuration tries to open every door."""
    folder = tmp_path_factory.mktemp("plain")
    config, report = folder / "jupyter_server_config.py", folder / "probe.json"
    config.write_text(HOSTILE_CONFIG)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--config={config}"]
    command += ["--ServerApp.port=0", "--IdentityProvider.token=plain-token"]
    probe = str(Path(__file__).parent / "probe_extension")
    with running_lab(folder / "home", command, BOUNDARY_PROBE=str(report), PYTHONPATH=probe) as lab:
        until(report.exists, 90, "the report")
        yield lab, json.loads(report.read_text())


def token_with(lab: Lab, role: Role) -> str:
    """Log a person of a role in, directly in the server's database."""
    database = lab.database()
    with database.write() as session:
        user = session.scalar(select(User).where(User.name == f"Boundary-{role}"))
        token = access_token(session, Settings(home=lab.home), user or make_user(session, f"Boundary-{role}", role))
    database.close()
    return token


def operations(lab: Lab) -> list[tuple[str, str, str]]:
    """Return (method, path with ids filled in, kind) of every documented operation."""
    spec = get(lab, "/api/workbench/openapi.json").json()
    return [
        (method.upper(), path.replace("{", "").replace("}", ""), "socket" if "x-messages" in details else "plain")
        for path, methods in spec["paths"].items()
        for method, details in methods.items()
    ]


def get(lab: Lab, path: str, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or lab.token}"}
    return httpx.get(lab.url.rstrip("/") + path, headers=headers, timeout=30)


def test_plain_jupyter_lab_gets_our_guards(plain: tuple[Lab, dict[str, Any]]) -> None:
    _, found = plain
    assert found["identity_provider"] == "workbench_server.identity.WorkbenchIdentityProvider"
    assert found["authorizer"] == "workbench_server.identity.WorkbenchAuthorizer"
    assert found["kernel_manager"] == "workbench_server.kernels.WorkbenchKernelManager"
    assert found["allow_unauthenticated_access"] is False
    assert "voila.server_extension" not in found["enabled"]


def test_plain_jupyter_lab_serves_the_owner(plain: tuple[Lab, dict[str, Any]]) -> None:
    lab, _ = plain
    assert lab.wb.health().status == "ok"
    assert get(lab, "/api/me").json()["identity"]["username"] == "owner"
    assert get(lab, "/voila/render/workbench.ipynb").status_code == 404


@pytest.mark.parametrize("which", ["workbench", "plain"])
def test_an_anonymous_caller_gets_nothing(which: str, lab: Lab, plain: tuple[Lab, dict[str, Any]]) -> None:
    server = lab if which == "workbench" else plain[0]
    for method, path, kind in operations(server):
        if kind == "socket":
            with pytest.raises(InvalidStatus), connect(server.url.replace("http", "ws", 1).rstrip("/") + path):
                pass
        answer = httpx.request(method, server.url.rstrip("/") + path, timeout=30)
        refusals = (422,) if path in PUBLIC else (401, 403)
        assert answer.status_code in refusals, f"{method} {path} answered {answer.status_code}"
        told = answer.json()
        assert told["error"]["message"] if path.startswith("/api/openai/") else told["detail"]
    for path in ("/api/contents", "/api/kernels", "/api/terminals", "/api/me", "/api/workbench/docs", "/lab"):
        answer = httpx.get(server.url.rstrip("/") + path, timeout=30)
        assert answer.status_code in (302, 401, 403), path


def test_a_wrong_token_is_anonymous(lab: Lab) -> None:
    assert get(lab, "/api/datasets", "wbk_guessed").status_code == 401
    assert get(lab, "/api/datasets", "wrong").json()["code"] == "unauthenticated"


def test_an_account_without_kernels_is_kept_out_of_jupyter(lab: Lab) -> None:
    token = token_with(lab, "reviewer")
    assert get(lab, "/api/datasets", token).status_code == 200
    for path in ("/api/contents", "/api/kernels", "/api/terminals", "/lab", "/proxy/1/", "/lab/api/settings"):
        assert get(lab, path, token).status_code == 403, path
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.post(f"{lab.url}api/kernels", headers=headers, json={}, timeout=30).status_code == 403


def test_a_permission_is_asked_for_every_write(lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {token_with(lab, 'reviewer')}"}
    for path in (
        "api/train/jobs",
        "api/jobs/job_x/cancel",
        "api/evaluation/models/mv_x",
        "api/datasets?filename=x.csv",
    ):
        answer = httpx.post(lab.url + path, headers=headers, content=b"{}", timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


def test_a_cookie_needs_the_xsrf_header(lab: Lab) -> None:
    with httpx.Client(base_url=lab.url, timeout=30) as browser:
        assert browser.get("lab", params={"token": lab.token}).status_code == 200
        assert browser.get("api/datasets").status_code == 200
        assert browser.post("api/jobs/job_x/cancel").status_code == 403
        header = {"X-XSRFToken": browser.cookies["_xsrf"]}
        assert browser.post("api/jobs/job_x/cancel", headers=header).status_code == 404


def test_a_script_gets_no_cookie(lab: Lab) -> None:
    answer = get(lab, "/api/contents")
    assert not [cookie for cookie in answer.headers.get_list("set-cookie") if "username" in cookie]


def test_a_kernel_gets_a_token_of_its_own_and_no_secret(lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {lab.token}"}
    started = httpx.post(f"{lab.url}api/kernels", headers=headers, json={"name": "python3"}, timeout=60).json()
    database = lab.database()
    environment = kernel_environment(lab, started["id"])
    token = environment["WORKBENCH_TOKEN"]
    assert environment["WORKBENCH_URL"] == lab.url
    assert lab.token not in environment.values()
    assert get(lab, "/api/datasets", token).status_code == 200
    for path in ("/lab", "/api/kernels", "/api/contents", "/api/terminals"):
        assert get(lab, path, token).status_code == 403, path
    shutdown = httpx.post(f"{lab.url}api/shutdown", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert shutdown.status_code == 403
    httpx.delete(f"{lab.url}api/kernels/{started['id']}", headers=headers, timeout=60).raise_for_status()
    assert get(lab, "/api/datasets", token).status_code == 401
    database.close()


def test_a_kernel_token_is_not_taken_from_a_url(lab: Lab) -> None:
    token = token_with(lab, "researcher")
    assert get(lab, "/api/datasets", token).status_code == 200
    assert httpx.get(f"{lab.url}api/datasets", params={"token": token}, timeout=30).status_code == 401
    assert httpx.get(f"{lab.url}api/datasets", params={"token": lab.token}, timeout=30).status_code == 200


def kernel_environment(lab: Lab, kernel_id: str) -> dict[str, str]:
    """Return the environment of a kernel's process."""
    import psutil

    children = psutil.Process(lab.process.pid).children(recursive=True)
    kernel = next(child for child in children if kernel_id in " ".join(child.cmdline()))
    return dict(kernel.environ())
