"""What the OpenAPI document allows and what it does not, sent to the server as each role: no answer is our fault.

A short run; `WORKBENCH_FUZZ_REQUESTS=10000 pytest tests/integration/test_fuzz.py` is the long one, for each role.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from people import access_token, make_user
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from servers import Lab, running_lab

from workbench.accounts import people
from workbench.accounts.roles import ROLES, Role
from workbench.core.settings import Settings

REQUESTS = int(os.environ.get("WORKBENCH_FUZZ_REQUESTS", "300"))
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
#: 503 says that something is not there at this moment, such as an engine; that is no fault.
AWAY = 503


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    variables = {"WORKBENCH_AGENT": "external", "WORKBENCH_REGISTRATION": "open"}
    with running_lab(tmp_path_factory.mktemp("fuzz") / "home", **variables) as lab:
        yield lab


def token(lab: Lab, role: Role) -> str:
    database = lab.database()
    with database.write() as session:
        user = people.by_address(session, f"fuzz-{role}@example.org") or make_user(session, f"fuzz-{role}", role)
        user.disabled_at, user.role = None, role
        found = access_token(session, Settings(home=lab.home), user)
    database.close()
    return found


@pytest.mark.parametrize("role", [None, *ROLES])
def test_no_answer_is_the_servers_fault(lab: Lab, role: Role | None, capsys: pytest.CaptureFixture[str]) -> None:
    spec = httpx.get(f"{lab.url}api/workbench/openapi.json", headers={"Authorization": f"Bearer {lab.token}"}).json()
    for path, methods in list(spec["paths"].items()):
        if any("x-messages" in operation for operation in methods.values()):
            del spec["paths"][path]  # WebSockets
    operations = [found.ok() for found in schemathesis.openapi.from_dict(spec).get_all_operations()]
    each = max(1, REQUESTS // len(operations))
    answers: Counter[int] = Counter()
    for operation in operations:
        fuzz(lab, operation, each, token(lab, role) if role is not None else None, answers)
    with capsys.disabled():
        print(f"\n{role or 'a stranger'}: {answers.total()} requests, {dict(sorted(answers.items()))}")
    assert not [status for status in answers if status >= 500 and status != AWAY]


def fuzz(lab: Lab, operation: Any, count: int, credential: str | None, answers: Counter[int]) -> None:
    """Send requests of one operation, and check every answer against the document."""
    headers = {"Authorization": f"Bearer {credential}"} if credential is not None else {}
    limits = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @limits
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(base_url=lab.url.rstrip("/"), headers=headers, timeout=60)
        answers[response.status_code] += 1
        if response.status_code != AWAY:
            case.validate_response(response, checks=CHECKS)

    check()
