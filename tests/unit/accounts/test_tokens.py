from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from people import make_person
from pydantic import ValidationError
from sqlalchemy import text, update

from workbench.accounts import service
from workbench.accounts.roles import LIMITS, ROLES
from workbench.accounts.schemas import TokenCreate
from workbench.accounts.tables import AccessToken
from workbench.core.clock import utcnow
from workbench.core.context import Context


@pytest.fixture
def ada(context: Context) -> Context:
    return replace(context, user=make_person(context.session, "Ada"))


@pytest.fixture
def bob(context: Context) -> Context:
    return replace(context, user=make_person(context.session, "Bob"))


def verified(context: Context, token: str) -> Context:
    user = service.verify(context.session, token)
    assert user is not None
    return replace(context, user=user)


def test_a_personal_token_acts_as_a_program_of_its_maker(ada: Context) -> None:
    made = service.create(ada, TokenCreate(name="laptop"))
    script = verified(ada, made.token).user
    assert (script.id, script.name, script.permissions) == (
        ada.user.id,
        "Ada",
        LIMITS["program"] & ROLES["researcher"],
    )
    assert "tokens:write" not in script.permissions
    assert service.credential(script).token_id == made.id


def test_its_secret_is_shown_once_and_stored_nowhere(ada: Context) -> None:
    made = service.create(ada, TokenCreate(name="laptop"))
    assert made.token not in repr(made)
    assert "token" not in service.listing(ada).items[0].model_dump()
    (row,) = ada.session.execute(text("SELECT * FROM access_tokens")).all()
    assert not any(made.token.removeprefix("wbk_") in str(value) for value in row)


def test_a_token_ends_when_it_expires(ada: Context) -> None:
    made = service.create(ada, TokenCreate(name="a day", expires_in_days=1))
    assert made.expires_at is not None
    assert timedelta(hours=23) < made.expires_at - utcnow() <= timedelta(days=1)
    assert service.verify(ada.session, made.token) is not None
    ada.session.execute(update(AccessToken).values(expires_at=utcnow() - timedelta(seconds=1)))
    assert service.verify(ada.session, made.token) is None
    assert service.listing(ada).items == []
    with pytest.raises(service.TokenNotFound):
        service.end(ada, made.id)


def test_the_list_shows_ones_own_live_tokens_newest_first(ada: Context, bob: Context) -> None:
    first, second, third = (service.create(ada, TokenCreate(name=name)) for name in ("one", "two", "three"))
    service.create(bob, TokenCreate(name="bobs"))
    service.issue(ada.session, ada.user, "program", "kernel", "k1")
    service.end(ada, second.id)
    assert [token.name for token in service.listing(ada).items] == ["three", "one"]
    assert service.verify(ada.session, second.token) is None
    assert service.verify(ada.session, first.token) is not None
    assert third.last_used_at is None


def test_nobody_ends_anothers_token(ada: Context, bob: Context) -> None:
    made = service.create(ada, TokenCreate(name="laptop"))
    with pytest.raises(service.TokenNotFound):
        service.end(bob, made.id)
    assert service.verify(ada.session, made.token) is not None


def test_a_script_ends_its_own_token_and_no_other(ada: Context) -> None:
    own, other = (service.create(ada, TokenCreate(name=name)) for name in ("one", "two"))
    service.end_own(verified(ada, own.token))
    assert [service.verify(ada.session, made.token) is None for made in (own, other)] == [True, False]
    kernel = service.issue(ada.session, ada.user, "program", "kernel", "k1")
    for context in (ada, verified(ada, kernel)):
        with pytest.raises(service.NotPersonal):
            service.end_own(context)


def test_use_is_noted_once_a_minute(ada: Context) -> None:
    made = service.create(ada, TokenCreate(name="laptop"))
    script = verified(ada, made.token).user
    assert service.use_is_news(ada.session, script)
    service.note_use(ada.session, script)
    ada.session.expire_all()
    assert not service.use_is_news(ada.session, script)
    ada.session.execute(update(AccessToken).values(last_used_at=utcnow() - timedelta(seconds=61)))
    ada.session.expire_all()
    assert service.use_is_news(ada.session, script)
    assert service.listing(ada).items[0].last_used_at is not None


def test_the_use_of_other_credentials_is_not_noted(ada: Context) -> None:
    kernel = service.issue(ada.session, ada.user, "program", "kernel", "k1")
    assert not service.use_is_news(ada.session, ada.user)
    assert not service.use_is_news(ada.session, verified(ada, kernel).user)


def test_a_scope_narrows_a_token_and_never_widens_it(ada: Context) -> None:
    made = service.create(ada, TokenCreate(name="reader", permissions=["datasets:read"]))
    assert verified(ada, made.token).user.permissions == {"datasets:read"}
    for beyond in ("users:manage", "kernels:use", "tokens:write", "no:such"):
        with pytest.raises(service.BeyondScope, match=beyond):
            service.create(ada, TokenCreate(name="more", permissions=["datasets:read", beyond]))


@pytest.mark.parametrize(
    "given", [{"name": ""}, {"name": "x" * 129}, {"name": "x", "expires_in_days": 0}, {"name": "<b>"}]
)
def test_nonsense_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenCreate.model_validate(given)
