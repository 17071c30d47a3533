from __future__ import annotations

from dataclasses import replace

import pytest
from people import make_user
from sqlalchemy import text

from workbench.accounts import people, service
from workbench.accounts.roles import LIMITS, ROLES, Limit, Role
from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.schemas import Ref

ADA = people.owner()


@pytest.mark.parametrize("role", sorted(ROLES))
@pytest.mark.parametrize("limit", sorted(LIMITS))
def test_a_token_allows_what_its_users_role_does_within_its_limit(context: Context, role: Role, limit: Limit) -> None:
    user = make_user(context.session, "Eve", role)
    token = service.issue(context.session, people.principal(context.session, user), limit, "kernel", "k1")
    found = service.verify(context.session, token)
    assert found == Principal(user.id, "Eve", ROLES[role] & LIMITS[limit], Ref(kind="kernel", id="k1"))


def test_a_role_is_asked_for_at_every_use(context: Context) -> None:
    user = make_user(context.session, "Eve", "admin")
    token = service.issue(context.session, people.principal(context.session, user), "program", "kernel", "k1")
    user.role = "reviewer"
    found = service.verify(context.session, token)
    assert found is not None
    assert found.permissions == LIMITS["viewer"]
    user.disabled_at = user.created_at
    assert service.verify(context.session, token) is None


def test_a_token_of_nobody_stands_for_nobody(context: Context) -> None:
    gone = replace(ADA, id="usr_gone")
    assert service.verify(context.session, service.issue(context.session, gone, "program", "job", "a")) is None


def test_every_token_is_another(context: Context) -> None:
    made = {service.issue(context.session, ADA, "program", "job", "att_1") for _ in range(20)}
    assert len(made) == 20
    assert all(token.startswith("wbk_") and len(token) > 40 for token in made)


@pytest.mark.parametrize("string", ["", "wbk_", "wbk_x", "x" * 10_000])
def test_any_other_string_stands_for_nobody(context: Context, string: str) -> None:
    service.issue(context.session, ADA, "program", "job", "att_1")
    assert service.verify(context.session, string) is None


def test_a_digest_from_the_database_is_no_token(context: Context) -> None:
    service.issue(context.session, ADA, "program", "job", "att_1")
    context.session.flush()
    digest = context.session.scalar(text("SELECT token_sha256 FROM access_tokens"))
    assert service.verify(context.session, str(digest)) is None
    assert service.verify(context.session, f"wbk_{digest}") is None


def test_the_database_never_holds_a_token(database: Database) -> None:
    with database.write() as session:
        token = service.issue(session, ADA, "program", "job", "att_1")
    with database.read() as session:
        (row,) = session.execute(text("SELECT * FROM access_tokens")).all()
    secret = token.removeprefix("wbk_")
    assert not any(secret in str(value) for value in row)


def test_revoking_ends_every_token_of_a_holder_and_no_other(context: Context) -> None:
    session = context.session
    first, second = (service.issue(session, ADA, "program", "job", "att_1") for _ in range(2))
    other_job = service.issue(session, ADA, "program", "job", "att_2")
    kernel = service.issue(session, ADA, "program", "kernel", "att_1")
    service.revoke(session, "job", "att_1")
    assert [service.verify(session, token) is None for token in (first, second, other_job, kernel)] == [
        *[True, True],
        *[False, False],
    ]


def test_kernels_end_with_their_server_and_jobs_do_not(context: Context) -> None:
    session = context.session
    kernel = service.issue(session, ADA, "program", "kernel", "k1")
    job = service.issue(session, ADA, "program", "job", "att_1")
    service.revoke_all(session, "kernel")
    assert service.verify(session, kernel) is None
    assert service.verify(session, job) is not None


def test_the_time_of_the_first_revocation_stays(context: Context) -> None:
    session = context.session
    service.issue(session, ADA, "program", "job", "att_1")
    revoked = text("SELECT revoked_at FROM access_tokens")
    service.revoke(session, "job", "att_1")
    first = session.scalar(revoked)
    service.revoke(session, "job", "att_1")
    assert session.scalar(revoked) == first is not None


def test_the_owner_of_an_embedded_server_may_do_everything() -> None:
    owner = people.owner()
    assert (owner.id, owner.permissions) == ("owner", ROLES["admin"])
    assert owner.name
