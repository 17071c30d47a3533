from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from people import make_user
from sqlalchemy import select, update

from workbench.accounts import audit, logins, once, people, service
from workbench.accounts.signing import keys
from workbench.accounts.tables import AccessToken, AuditEntry, Login, RefreshToken, User
from workbench.core.clock import utcnow
from workbench.core.context import Context


@pytest.fixture
def eve(context: Context) -> User:
    return make_user(context.session, "Eve")


def log_in(context: Context, user: User) -> tuple[Login, Any]:
    login = logins.begin(context.session, user, address="10.0.0.1", agent="test")
    return login, logins.with_tokens(context.session, login, user, keys(context.settings))


def person(context: Context, access_token: str) -> Any:
    claims = keys(context.settings).read(access_token)
    assert claims is not None
    return logins.of_claims(context.session, claims)


def test_a_refresh_token_is_exchanged_once(context: Context, eve: User) -> None:
    _, pair = log_in(context, eve)
    second = logins.rotate(context, pair.refresh_token, keys(context.settings))
    assert second is not None
    third = logins.rotate(context, second.refresh_token, keys(context.settings))
    assert third is not None
    assert len({pair.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert all(person(context, each.access_token).id == eve.id for each in (pair, second, third))


def test_parallel_tabs_get_the_same_successor(context: Context, eve: User) -> None:
    _, pair = log_in(context, eve)
    answers = [logins.rotate(context, pair.refresh_token, keys(context.settings)) for _ in range(3)]
    assert len({answer.refresh_token for answer in answers if answer is not None}) == 1


def test_a_replayed_token_ends_its_whole_family_and_is_audited(context: Context, eve: User) -> None:
    _, pair = log_in(context, eve)
    other, other_pair = log_in(context, eve)
    second = logins.rotate(context, pair.refresh_token, keys(context.settings))
    assert second is not None
    context.session.execute(
        update(RefreshToken)
        .where(RefreshToken.used_at.is_not(None))
        .values(used_at=utcnow() - logins.GRACE - timedelta(seconds=1))
    )
    context.session.expire_all()
    assert logins.rotate(context, pair.refresh_token, keys(context.settings)) is None
    assert logins.rotate(context, second.refresh_token, keys(context.settings)) is None
    assert person(context, second.access_token) is None
    assert person(context, other_pair.access_token).login_id == other.id
    assert "auth.refresh_reused" in context.session.scalars(select(AuditEntry.action)).all()


@pytest.mark.parametrize("age", [{"last_used_at": logins.IDLE}, {"expires_at": timedelta(0)}], ids=str)
def test_a_login_ends_when_idle_or_old(context: Context, eve: User, age: dict[str, timedelta]) -> None:
    login, pair = log_in(context, eve)
    secret = logins.with_cookie(context.session, login)
    assert logins.of_cookie(context.session, secret) is not None
    past = {name: utcnow() - before - timedelta(seconds=1) for name, before in age.items()}
    context.session.execute(update(Login).values(past))
    assert logins.of_cookie(context.session, secret) is None
    assert person(context, pair.access_token) is None
    assert logins.rotate(context, pair.refresh_token, keys(context.settings)) is None


def test_a_new_password_ends_every_earlier_credential(context: Context, eve: User) -> None:
    session = context.session
    login, pair = log_in(context, eve)
    secret = logins.with_cookie(session, login)
    who = people.principal(session, eve)
    opaque = [service.issue(session, who, "program", kind, "x") for kind in ("kernel", "job", "personal")]  # type: ignore[arg-type]
    logins.end_everything(session, eve)
    session.flush()
    assert person(context, pair.access_token) is None
    assert logins.of_cookie(session, secret) is None
    assert logins.rotate(context, pair.refresh_token, keys(context.settings)) is None
    assert [service.verify(session, token) for token in opaque] == [None] * 3
    fresh = log_in(context, eve)[1]
    assert person(context, fresh.access_token) is not None


def test_a_disabled_or_unverified_account_is_nobody(context: Context, eve: User) -> None:
    login, pair = log_in(context, eve)
    secret = logins.with_cookie(context.session, login)
    for name in ("disabled_at", "verified_at"):
        before = getattr(eve, name)
        setattr(eve, name, utcnow() if before is None else None)
        context.session.flush()
        assert person(context, pair.access_token) is None
        assert logins.of_cookie(context.session, secret) is None
        setattr(eve, name, before)
    assert person(context, pair.access_token) is not None


def test_nothing_that_is_stored_is_a_secret(context: Context, eve: User) -> None:
    login, pair = log_in(context, eve)
    secret = logins.with_cookie(context.session, login)
    _, code = once.issue(context.session, "reset", eve.id)
    rows = [
        row
        for table in (Login, RefreshToken, AccessToken, once.OnceToken)
        for row in context.session.scalars(select(table))
    ]
    stored = " ".join(str(value) for row in rows for value in vars(row).values())
    assert not any(token[4:] in stored for token in (secret, pair.refresh_token, code))


def test_a_once_token_works_once_for_its_purpose_within_its_time(context: Context, eve: User) -> None:
    session = context.session
    _, code = once.issue(session, "verify", eve.id)
    assert once.consume(session, "reset", code) is None
    assert once.look(session, "verify", code) is not None
    assert once.consume(session, "verify", code) is not None
    assert once.consume(session, "verify", code) is None
    _, late = once.issue(session, "verify", eve.id, timedelta(seconds=-1))
    assert once.consume(session, "verify", late) is None
    _, taken_back = once.issue(session, "verify", eve.id)
    once.withdraw(session, "verify", eve.id)
    assert once.consume(session, "verify", taken_back) is None


def test_a_websockets_ticket_allows_no_more_than_its_makers_credential(context: Context, eve: User) -> None:
    session = context.session
    made = service.create(
        Context(session, people.principal(session, eve), context.settings),
        service.schemas.TokenCreate(name="reader", permissions=["jobs:read"]),
    )
    script = service.verify(session, made.token)
    assert script is not None
    ticket = service.ticket(Context(session, script, context.settings))
    found = service.of_ticket(session, ticket.ticket)
    assert found is not None
    assert (found.id, found.permissions) == (eve.id, {"jobs:read"})
    assert service.of_ticket(session, ticket.ticket) is None


class TestAudit:
    def fill(self, context: Context) -> None:
        for number in range(5):
            audit.record(context.session, context.user, "test", f"thing {number}", address="::1", n=number, text="é")

    def test_a_chain_that_nobody_touched_holds(self, context: Context) -> None:
        assert audit.verify(context.session).entries == 0
        self.fill(context)
        context.session.expire_all()
        found = audit.verify(context.session)
        assert (found.holds, found.entries) == (True, 5)

    @pytest.mark.parametrize(
        "change",
        [
            {"actor_id": "x"}, {"action": "x"}, {"object": "x"}, {"details": {"n": 9}}, {"address": "x"},
            {"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"holder": "x"}, {"actor_name": "x"}, {"hash": "0" * 64},
        ],
        ids=str,
    )  # fmt: skip
    def test_any_change_shows(self, context: Context, change: dict[str, Any]) -> None:
        self.fill(context)
        third = context.session.scalars(select(AuditEntry.seq).order_by(AuditEntry.seq)).all()[2]
        context.session.execute(update(AuditEntry).where(AuditEntry.seq == third).values(change))
        context.session.expire_all()
        found = audit.verify(context.session)
        assert (found.holds, found.broken_at) == (False, third)

    def test_a_removed_entry_shows(self, context: Context) -> None:
        self.fill(context)
        rows = context.session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
        context.session.delete(rows[1])
        context.session.flush()
        assert audit.verify(context.session).broken_at == rows[2].seq
