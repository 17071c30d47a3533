"""The routes over HTTP: what they document, what they refuse, and that nothing half-made stays."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from servers import Lab

from workbench.accounts.roles import PERMISSIONS
from workbench.core.errors import RemoteError
from workbench.datasets.client import Dataset
from workbench.training.client import Run


def call(lab: Lab, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {lab.token}", **options.pop("headers", {})}
    return httpx.request(method, lab.url + path, headers=headers, timeout=60, **options)


def test_the_openapi_document_is_valid_and_complete(lab: Lab) -> None:
    spec = call(lab, "GET", "api/workbench/openapi.json").json()
    OpenAPIV31SpecValidator(spec).validate()
    assert spec["openapi"] == "3.1.0"
    for path, methods in spec["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith("."), path
            told = operation["description"]
            assert any(f"`{name}`" in told for name in PERMISSIONS) or told in (
                "For every known caller.",
                "For everyone.",
            ), path


def test_an_escaped_backslash_is_no_nul(lab: Lab) -> None:
    made = call(lab, "POST", "api/chat/conversations", json={"title": "a\\u0000b"}).json()
    assert made["title"] == "a\\u0000b"


def test_the_readable_page_loads_nothing_from_elsewhere(lab: Lab) -> None:
    page = call(lab, "GET", "api/workbench/docs")
    assert "/api/train/jobs" in page.text
    assert "http" not in page.text.replace(lab.url, "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_an_unknown_path_method_and_body_are_problems(lab: Lab) -> None:
    for answer, status in (
        (call(lab, "DELETE", "api/datasets"), 405),
        (call(lab, "GET", "api/jobs/job_none"), 404),
        (call(lab, "GET", "api/jobs", params={"limit": 1000}), 422),
        (call(lab, "GET", "api/jobs", params={"nonsense": 1}), 422),
        (call(lab, "POST", "api/train/jobs", content=b"{"), 422),
        (call(lab, "POST", "api/train/jobs", json=[]), 422),
        (call(lab, "POST", "api/chat/conversations", json={"title": "a\0b"}), 422),
        (call(lab, "POST", "api/chat/conversations", json={"title\0": "a"}), 422),
        (call(lab, "GET", "api/chat/conversations", params={"search": "a\0b"}), 422),
    ):
        problem = answer.json()
        assert answer.status_code == problem["status"] == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert problem["detail"].endswith(".")
        assert problem["message"] == problem["detail"]


BAD_FILES = {
    "a short row": ("short.csv", b"prompt,completion\na,b\nlonely\n", "3"),
    "an empty file": ("empty.csv", b"", "empty"),
    "only a header": ("header.csv", b"prompt,completion\n", "no rows"),
    "not what its name says": ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
    "not JSON Lines": ("text.jsonl", b"hello\n", "line 1"),
    "not Parquet": ("rows.parquet", b"prompt,completion\n", "Parquet"),
    "an unknown ending": ("rows.docx", b"x", ".docx"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(lab: Lab, data: Dataset, case: str, tmp_path: Path) -> None:
    filename, content, hint = BAD_FILES[case]
    before = [one.name for one in lab.wb.datasets.list()]
    answer = call(lab, "POST", "api/datasets", params={"filename": filename}, content=content)
    assert 400 <= answer.status_code < 500
    assert hint.lower() in answer.json()["detail"].lower()
    assert [one.name for one in lab.wb.datasets.list()] == before
    assert not list((lab.home / "uploads").iterdir())


def test_a_column_that_is_not_there_is_refused(lab: Lab) -> None:
    parameters = {"filename": "qa.csv", "prompt": "question", "completion": "reply"}
    answer = call(lab, "POST", "api/datasets", params=parameters, content=b"question,answer\na,b\n")
    assert answer.status_code == 422
    assert "reply" in answer.json()["detail"]


BAD_SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "a negative learning rate": ({"learning_rate": -1.0}, "/learning_rate"),
    "a learning rate in words": ({"learning_rate": "abc"}, "/learning_rate"),
    "no batch": ({"batch_size": 0}, "/batch_size"),
    "an unknown field": ({"learning_rat": 0.1}, "/learning_rat"),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_a_bad_number_is_refused_at_its_field(lab: Lab, data: Dataset, base: Path, case: str) -> None:
    fields, pointer = BAD_SPECS[case]
    body = {"base": str(base), "data": data["train"].ref.model_dump(), **fields}
    jobs = len(lab.wb.jobs.list())
    answer = call(lab, "POST", "api/train/jobs", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len(lab.wb.jobs.list()) == jobs


def test_a_base_model_that_is_not_there_is_refused(lab: Lab, data: Dataset) -> None:
    with pytest.raises(RemoteError, match="no base model “nobody/nothing”") as caught:
        lab.wb.train(base="nobody/nothing", data=data["train"])
    assert caught.value.remote.status == 404


def test_rows_that_leave_no_trained_token_are_refused(lab: Lab, data: Dataset, base: Path) -> None:
    jobs = len(lab.wb.jobs.list())
    with pytest.raises(RemoteError, match="max_length 8") as caught:
        lab.wb.train(base=str(base), data=data["train"], max_length=8)
    assert caught.value.remote.code == "rows.no_trained_token"
    assert len(lab.wb.jobs.list()) == jobs


def test_an_upload_over_the_limit_is_refused(lab: Lab) -> None:
    connection = HTTPConnection(lab.url.split("/")[2], timeout=30)
    connection.putrequest("POST", "/api/datasets?filename=big.csv")
    connection.putheader("Authorization", f"Bearer {lab.token}")
    connection.putheader("Content-Length", str(2**50))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")
    connection.close()
    assert not list((lab.home / "uploads").iterdir())


def test_the_same_key_starts_one_job(lab: Lab, data: Dataset, base: Path) -> None:
    body = {"base": str(base), "data": data["train"].ref.model_dump(), "max_steps": 1}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = call(lab, "POST", "api/train/jobs", json=body, headers=key)
    again = call(lab, "POST", "api/train/jobs", json=body, headers=key)
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    other = call(lab, "POST", "api/train/jobs", json={**body, "max_steps": 2}, headers=key)
    assert other.json()["code"] == "idempotency.key_reused"
    Run(lab.wb.http, first.json()["id"]).cancel()


def test_a_log_and_metrics_of_an_unknown_job_are_not_found(lab: Lab) -> None:
    for path in ("log", "metrics"):
        assert call(lab, "GET", f"api/jobs/job_none/{path}").json()["code"] == "job.not_found"


def test_a_stream_of_an_unknown_job_says_so(lab: Lab) -> None:
    with pytest.raises(RemoteError, match="no job job_none") as caught:
        list(lab.wb.jobs["job_none"].stream())
    assert caught.value.remote.status == 404


HOSTILE_TEMPLATES = {
    "endless": "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
    "a huge power": "{{ 9 ** (9 ** 9) }}",
    "no template": "{{ 1 / 0 }}",
}


@pytest.mark.parametrize("case", HOSTILE_TEMPLATES)
def test_a_strangers_template_cannot_stop_the_server(
    lab: Lab, data: Dataset, base: Path, tmp_path: Path, case: str
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "stranger"))
    (folder / "chat_template.jinja").write_text(HOSTILE_TEMPLATES[case])
    body = {"base": str(folder), "data": data["train"].ref.model_dump()}
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(call, lab, "POST", "api/train/jobs", json=body)
        while not asked.done():
            assert call(lab, "GET", "api/jobs").status_code == 200
            time.sleep(0.2)
    answer = asked.result()
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["detail"].endswith(".")


def test_odd_requests_are_problems_of_the_caller(lab: Lab) -> None:
    for answer in (
        call(lab, "GET", "api/jobs?cursor=%ff"),
        call(lab, "POST", "api/train/jobs", content=b"[" * 20_000),
        call(lab, "GET", f"api/jobs/job_x/metrics?after={10**20}"),
        call(lab, "POST", "api/datasets?filename=x.csv", content=b"a,b\n", headers={"Content-Length": "4"}),
    ):
        assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "base", ["~nobody/x", "a/" * 3000, "x" * 300, "/etc", "../../etc", "https://example.org/x", "\0"]
)
def test_an_odd_base_model_is_a_problem_of_the_caller(lab: Lab, data: Dataset, base: str) -> None:
    answer = call(lab, "POST", "api/train/jobs", json={"base": base, "data": data["train"].ref.model_dump()})
    assert 400 <= answer.status_code < 500, answer.text
