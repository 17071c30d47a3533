"""Accounts over HTTP, with a real mail server: from the registration to the end of every credential."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from mailbox import Mailbox, running_mailbox
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from people import PASSWORD, access_token, make_user
from servers import Lab, running_lab, until
from sqlalchemy import select, update
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from workbench.accounts import logins, routes, signing
from workbench.accounts.tables import AuditEntry, Login, Mail, User
from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.errors import RemoteError
from workbench.core.settings import Settings
from workbench.registry.tables import ModelVersion
from workbench.session import connect as connected
from workbench.testing import make_model


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    with running_mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def lab(post: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    variables = {"WORKBENCH_REGISTRATION": "open", "WORKBENCH_SMTP_URL": post.url, "WORKBENCH_AGENT": "external"}
    with running_lab(tmp_path_factory.mktemp("accounts") / "home", **variables) as lab:
        yield lab


@pytest.fixture(scope="module")
def database(lab: Lab) -> Iterator[Database]:
    database = lab.database()
    yield database
    database.close()


def call(lab: Lab, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.request(method, f"{lab.url}api/auth/{path}", headers=headers | options.pop("headers", {}), **options)


def registered(lab: Lab, post: Mailbox) -> str:
    """Register and verify somebody new; return the address."""
    email = f"{uuid.uuid4().hex}@example.org"
    assert register(lab, email).status_code == 202
    code = parse_qs(urlsplit(post.link_for(email)).query)["code"][0]
    assert call(lab, "POST", "verify", json={"code": code}).status_code == 200
    return email


def register(lab: Lab, email: str) -> httpx.Response:
    return call(lab, "POST", "register", json={"email": email, "name": "Somebody", "password": PASSWORD})


def log_in(lab: Lab, email: str, password: str = PASSWORD) -> httpx.Response:
    return call(lab, "POST", "login", json={"email": email, "password": password})


def known(lab: Lab, database: Database, role: Any = "researcher") -> tuple[User, str]:
    """Make somebody directly; return the account and an access token."""
    with database.write() as session:
        user = make_user(session, f"k{uuid.uuid4().hex}", role)
        return user, access_token(session, Settings(home=lab.home), user)


def test_a_stranger_becomes_a_person(lab: Lab, post: Mailbox) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    assert register(lab, email).status_code == 202
    assert log_in(lab, email).json()["code"] == "auth.unverified"
    link = post.link_for(email)
    assert link.startswith(f"{lab.url}workbench/verify?code=")
    code = parse_qs(urlsplit(link).query)["code"][0]
    assert call(lab, "POST", "verify", json={"code": code}).status_code == 200
    assert call(lab, "POST", "verify", json={"code": code}).json()["code"] == "auth.code_refused"
    pair = log_in(lab, email).json()
    me = call(lab, "GET", "me", pair["access_token"]).json()
    assert (me["email"], me["role"]) == (email, "reviewer")
    assert log_in(lab, f"  {email.upper()}  ".strip()).status_code == 200, "an address is one in whatever case"


def test_known_and_unknown_addresses_get_the_same_answers(lab: Lab, post: Mailbox) -> None:
    email, unknown = registered(lab, post), f"{uuid.uuid4().hex}@example.org"
    both = (email, unknown)
    pairs = [
        [log_in(lab, each, "wrong password") for each in both],
        [call(lab, "POST", "password/forgot", json={"email": each}) for each in both],
        [call(lab, "POST", "verify/resend", json={"email": each}) for each in both],
        [register(lab, each) for each in both],
    ]
    for first, second in pairs:
        assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert post.link_for(email)  # that a new password can be set
    assert post.link_for(email) == lab.url, "and that there is an account already"


def test_mail_survives_an_outage_of_the_mail_server(lab: Lab, post: Mailbox, database: Database) -> None:
    post.stop()
    email = f"{uuid.uuid4().hex}@example.org"
    assert register(lab, email).status_code == 202

    def row() -> Mail:
        with database.read() as session:
            return session.scalars(select(Mail).where(Mail.recipient == email)).one()

    deadline = time.monotonic() + 30
    while row().error is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert row().error is not None
    assert row().sent_at is None
    post.start()
    assert "/workbench/verify?code=" in post.link_for(email, timeout=120), "it is tried again by itself"
    deadline = time.monotonic() + 30
    while row().sent_at is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert row().body == "", "the link is not kept"


def columns(user: User) -> dict[str, Any]:
    """Return what is stored of an account."""
    return {column.name: getattr(user, column.name) for column in User.__table__.columns}


@pytest.mark.parametrize(
    "field",
    [
        {"role": "admin"},
        {"verified_at": "2026-01-01T00:00:00Z"},
        {"id": "owner"},
        {"email": "x@y.org"},
        {"permissions": ["users:manage"]},
        {"epoch": 0},
        {"is_admin": True},
        {"password_hash": "x"},
        {"disabled_at": None},
    ],
    ids=str,
)
def test_nobody_gives_themselves_more(lab: Lab, database: Database, field: dict[str, Any]) -> None:
    user, token = known(lab, database, "reviewer")
    before = columns(user)
    answer = call(lab, "PUT", "me", token, json={"name": "New", **field})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert call(lab, "PATCH", f"users/{user.id}", token, json={"role": "admin"}).status_code == 403
    with database.read() as session:
        assert columns(session.get_one(User, user.id)) == before
    given = {"email": f"{uuid.uuid4().hex}@example.org", "name": "N", "password": PASSWORD, **field}
    answer = call(lab, "POST", "register", json=given if "email" not in field else given | {"role": "admin"})
    assert answer.status_code == 422


def test_a_forged_token_is_nobodys(lab: Lab, database: Database) -> None:
    user, token = known(lab, database, "admin")
    keys = signing.keys(Settings(home=lab.home))
    content = jwt.decode(token, options={"verify_signature": False})
    header, body, signature = token.split(".")

    def made(algorithm: str = "HS256", key: Any = keys.secrets[keys.current], **changes: Any) -> str:
        headers = {"kid": keys.current, "typ": "at+jwt"} | changes.pop("headers", {})
        return jwt.encode(content | changes, key, algorithm=algorithm, headers=headers)

    assert call(lab, "GET", "me", made()).json()["id"] == user.id
    past = utcnow() - timedelta(minutes=1)
    forged = [
        made("none", ""),
        made(aud="another"),
        made(iss="another"),
        made(exp=past),
        made(headers={"typ": "JWT"}),
        made(headers={"kid": "x"}),
        made(key=b"y" * 32),
        made(epoch=content["epoch"] + 1),
        made(sid="login_x"),
        made(sub="owner"),
        f"{header}.{body}.",
        f"{header}.{body}.{signature[::-1]}",
    ]
    assert [call(lab, "GET", "me", each).status_code for each in forged] == [401] * len(forged)


def test_a_replayed_refresh_token_ends_its_family(lab: Lab, post: Mailbox, database: Database) -> None:
    first = log_in(lab, registered(lab, post)).json()
    with ThreadPoolExecutor(8) as tabs:
        body = {"refresh_token": first["refresh_token"]}
        answers = list(tabs.map(lambda _: call(lab, "POST", "refresh", json=body, timeout=30), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1, "parallel tabs get the same successor"
    second = answers[0].json()
    with database.write() as session:
        late = utcnow() - logins.GRACE - timedelta(seconds=1)
        session.execute(
            update(logins.RefreshToken).where(logins.RefreshToken.used_at.is_not(None)).values(used_at=late)
        )
    assert call(lab, "POST", "refresh", json=body).json()["code"] == "auth.refresh_refused"
    assert call(lab, "POST", "refresh", json={"refresh_token": second["refresh_token"]}).status_code == 401
    assert call(lab, "GET", "me", second["access_token"]).status_code == 401
    with database.read() as session:
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "auth.refresh_reused")).all()


def test_a_new_password_ends_every_earlier_credential(lab: Lab, post: Mailbox, database: Database) -> None:
    email = registered(lab, post)
    with database.write() as session:
        session.execute(update(User).where(User.email == email).values(role="researcher"))
    pair = log_in(lab, email).json()
    personal = call(lab, "POST", "tokens", pair["access_token"], json={"name": "laptop"}).json()["token"]
    with browser(lab) as cookie:
        assert entered(cookie, email).status_code == 302
        wrong = {"current": "not the password", "password": "an even longer password"}
        assert call(lab, "PUT", "password", pair["access_token"], json=wrong).json()["code"] == "auth.wrong_password"
        change = {"current": PASSWORD, "password": "an even longer password"}
        assert call(lab, "PUT", "password", pair["access_token"], json=change).status_code == 200
        assert cookie.get("api/auth/me").status_code in (401, 403)
    for token in (pair["access_token"], personal):
        assert call(lab, "GET", "me", token).status_code == 401
    assert call(lab, "POST", "refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401
    assert log_in(lab, email).status_code == 401
    assert log_in(lab, email, "an even longer password").status_code == 200

    call(lab, "POST", "password/forgot", json={"email": email})
    code = parse_qs(urlsplit(post.link_for(email)).query)["code"][0]
    reset = {"code": code, "password": "the longest password"}
    assert call(lab, "POST", "password/reset", json=reset).status_code == 200
    assert call(lab, "POST", "password/reset", json=reset).json()["code"] == "auth.code_refused"
    assert log_in(lab, email, "the longest password").status_code == 200


def browser(lab: Lab) -> httpx.Client:
    """Return a client that keeps cookies, as a browser does."""
    return httpx.Client(base_url=lab.url, timeout=30)


def entered(client: httpx.Client, email: str, password: str = PASSWORD, **query: str) -> httpx.Response:
    """Log in by the page."""
    client.get("login")
    form = {"_xsrf": client.cookies["_xsrf"], "email": email, "password": password}
    return client.post("login", params=query, data=form)


def test_a_cookie_is_for_its_own_pages_alone_and_slides_on(lab: Lab, database: Database) -> None:
    user, _ = known(lab, database)
    with browser(lab) as client:
        answer = entered(client, user.email)
        (cookie,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith("username-")]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        me = client.get("api/auth/me")
        assert me.json()["id"] == user.id
        assert me.headers["Cache-Control"] == "no-store"
        assert not [each for each in me.headers.get_list("set-cookie") if each.startswith("username-")]

        body = {"name": "By cookie"}
        header = {"X-XSRFToken": client.cookies["_xsrf"]}
        assert client.put("api/auth/me", json=body).status_code == 403, "without the XSRF header"
        foreign = header | {"Origin": "http://evil.example"}
        assert client.put("api/auth/me", json=body, headers=foreign).status_code in (403, 404)
        assert client.get("api/auth/me", headers={"Origin": "http://evil.example"}).status_code in (403, 404)
        assert client.put("api/auth/me", json=body, headers=header).status_code == 200

        with database.write() as session:
            an_hour_ago = utcnow() - timedelta(hours=1)  # far beyond the life of an access token
            session.execute(update(Login).where(Login.user_id == user.id).values(last_used_at=an_hour_ago))
        me = client.get("api/auth/me")
        assert me.status_code == 200
        assert [each for each in me.headers.get_list("set-cookie") if each.startswith("username-")], "it slides on"
        with database.read() as session:
            last = session.scalars(select(Login.last_used_at).where(Login.user_id == user.id)).all()
        assert max(last) > utcnow() - timedelta(minutes=1)

        kept = dict(client.cookies)
        assert client.get("logout").status_code == 302
        assert client.get("api/auth/me").status_code in (401, 403)
        client.cookies.update(kept)
        assert client.get("api/auth/me").status_code in (401, 403), "a cookie that was kept does not live on"


@pytest.mark.parametrize(
    "wanted",
    [
        "http://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "\\\\evil",
    ],
)
def test_a_login_leads_nowhere_else(lab: Lab, database: Database, wanted: str) -> None:
    user, _ = known(lab, database)
    with browser(lab) as client:
        answer = entered(client, user.email, next=wanted)
        assert answer.headers["Location"] == urlsplit(lab.url).path
    with browser(lab) as client:
        assert entered(client, user.email, next="/lab/tree/data.ipynb").headers["Location"] == "/lab/tree/data.ipynb"


def test_a_websocket_opens_with_a_ticket_once(lab: Lab, database: Database) -> None:
    user, token = known(lab, database)
    url = f"{lab.url.replace('http', 'ws', 1)}ws/training/job_none/metrics"

    def refused(**options: Any) -> int:
        ticket = f"?ticket={options.pop('ticket')}" if "ticket" in options else ""
        try:
            with connect(url + ticket, **options) as connection:
                try:
                    connection.recv(timeout=10)
                except Exception:
                    return int(connection.close_code or 0)
                return 0
        except InvalidStatus as error:
            return error.response.status_code

    ticket = call(lab, "POST", "tickets", token).json()["ticket"]
    assert refused(ticket=ticket) == 4404, "it came in, and there is no such job"
    assert refused(ticket=ticket) in (401, 403)
    assert refused(ticket="x") in (401, 403)
    assert refused() in (401, 403)
    assert call(lab, "GET", f"me?ticket={call(lab, 'POST', 'tickets', token).json()['ticket']}").status_code == 401
    with browser(lab) as client:
        entered(client, user.email)
        cookie = "; ".join(f"{each.name}={each.value}" for each in client.cookies.jar)
    own = {"Cookie": cookie, "Origin": lab.url.rstrip("/")}
    assert refused(additional_headers=own) == 4404
    assert refused(additional_headers=own | {"Origin": "http://evil.example"}) in (403, 404)
    assert refused(additional_headers={"Authorization": f"Bearer {token}"}) == 4404


def test_a_personal_token_is_as_narrow_as_it_was_made(lab: Lab, database: Database) -> None:
    user, token = known(lab, database)
    narrow = call(lab, "POST", "tokens", token, json={"name": "x", "permissions": ["datasets:read"]}).json()["token"]
    headers = {"Authorization": f"Bearer {narrow}"}
    assert httpx.get(f"{lab.url}api/datasets", headers=headers).status_code == 200
    assert httpx.get(f"{lab.url}api/jobs", headers=headers).status_code == 403
    assert call(lab, "GET", "tokens", narrow).status_code == 403
    with database.write() as session:
        session.execute(update(User).where(User.id == user.id).values(disabled_at=utcnow()))
    assert httpx.get(f"{lab.url}api/datasets", headers=headers).status_code == 401


def test_an_invitation_is_used_once_for_its_address(lab: Lab, database: Database, post: Mailbox) -> None:
    _, admin = known(lab, database, "admin")
    email = f"{uuid.uuid4().hex}@example.org"
    made = call(lab, "POST", "invitations", admin, json={"role": "maintainer", "email": email}).json()
    assert post.link_for(email).endswith(made["path"])
    person = {"email": email, "name": "Invited", "password": PASSWORD, "invitation": made["code"]}
    other = person | {"email": f"{uuid.uuid4().hex}@example.org"}
    assert call(lab, "POST", "register", json=other).json()["code"] == "auth.invitation_refused"
    assert call(lab, "POST", "register", json=person).status_code == 202
    assert call(lab, "POST", "register", json=person).json()["code"] == "auth.invitation_refused"
    with database.read() as session:
        assert session.scalars(select(User.role).where(User.email == email)).one() == "maintainer"


def test_an_admin_stays(lab: Lab, database: Database) -> None:
    with database.write() as session:
        session.execute(update(User).where(User.role == "admin").values(role="reviewer"))
    user, token = known(lab, database, "admin")
    for change in ({"role": "reviewer"}, {"disabled": True}):
        assert call(lab, "PATCH", f"users/{user.id}", token, json=change).json()["code"] == "user.last_admin"
    other, _ = known(lab, database, "admin")
    assert call(lab, "PATCH", f"users/{user.id}", token, json={"role": "reviewer"}).status_code == 200
    assert call(lab, "GET", "users", token).status_code == 403, "a role is asked for at every request"
    assert other.id


def test_what_changes_anything_is_in_the_audit_log_and_the_chain_holds(lab: Lab, database: Database) -> None:
    user, token = known(lab, database)
    call(lab, "POST", "tokens", token, json={"name": "audited"})
    with database.read() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.actor_id == user.id)).all()[-1]
    assert (entry.action, entry.address, entry.object[:4]) == ("accounts.create", "127.0.0.1", "tok_")
    assert lab.wb.http.call(routes.verify_audit).holds


def test_a_thousand_bad_logins_are_cheap_and_tell_nothing(lab: Lab, database: Database) -> None:
    user, _ = known(lab, database)
    with ThreadPoolExecutor(20) as flood, httpx.Client(base_url=lab.url, timeout=60) as client:
        body = {"email": user.email, "password": "wrong password"}
        answers = list(flood.map(lambda _: client.post("api/auth/login", json=body).status_code, range(1000)))
    assert answers.count(401) <= 10
    assert set(answers) <= {401, 429, 503}
    refused = log_in(lab, user.email)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 900


def test_an_address_cannot_be_taken_before_its_owner_comes(lab: Lab, post: Mailbox) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    first = {"email": email, "name": "Mallory", "password": "the password of mallory"}
    assert call(lab, "POST", "register", json=first).status_code == 202
    post.link_for(email)  # that its owner does not follow
    assert register(lab, email).status_code == 202
    assert call(lab, "POST", "register", json=first).status_code == 202, "and once more, behind the owner"
    code = parse_qs(urlsplit(post.link_for(email)).query)["code"][0]
    assert call(lab, "POST", "verify", json={"code": code}).status_code == 200
    assert log_in(lab, email, first["password"]).status_code == 401
    assert log_in(lab, email).status_code == 200


def test_an_invitation_ends_with_the_right_to_invite(lab: Lab, database: Database) -> None:
    known(lab, database, "admin")
    inviter, admin = known(lab, database, "admin")
    made = call(lab, "POST", "invitations", admin, json={"role": "admin"}).json()
    with database.write() as session:
        session.execute(update(User).where(User.id == inviter.id).values(role="researcher"))
    person = {"email": f"{uuid.uuid4().hex}@example.org", "name": "X", "password": PASSWORD}
    answer = call(lab, "POST", "register", json=person | {"invitation": made["code"]})
    assert answer.json()["code"] == "auth.invitation_refused"


def test_a_narrow_token_is_no_way_into_the_dashboards(lab: Lab, database: Database) -> None:
    _, token = known(lab, database)
    narrow = call(lab, "POST", "tokens", token, json={"name": "x", "permissions": ["datasets:read"]}).json()["token"]
    answer = httpx.get(f"{lab.url}workbench/dashboards", headers={"Authorization": f"Bearer {narrow}"})
    assert "ticket" not in answer.headers.get("Location", "")


def test_what_is_open_ends_with_the_right_to_it(lab: Lab, database: Database) -> None:
    user, token = known(lab, database)
    headers = {"Authorization": f"Bearer {token}"}
    kernel = httpx.post(f"{lab.url}api/kernels", headers=headers, json={"name": "python3"}, timeout=60).json()["id"]
    address = f"{lab.url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels"
    with connect(address, additional_headers=headers) as channel:
        with database.write() as session:
            session.execute(update(User).where(User.id == user.id).values(disabled_at=utcnow()))
        with pytest.raises(ConnectionClosed):
            deque(channel, maxlen=0)  # until the server closes it
        assert channel.close_code == 1008
    owner = {"Authorization": f"Bearer {lab.token}"}

    def ended() -> bool:
        return httpx.get(f"{lab.url}api/kernels/{kernel}", headers=owner).status_code == 404

    until(ended, 90, "the end of the kernel")


def test_a_name_is_first_ones_own_models_and_a_private_models_folder_is_no_base(
    lab: Lab, database: Database, tmp_path: Path
) -> None:
    eve, eves = known(lab, database)
    bob, bobs = known(lab, database)
    folder = make_model(lab.home / "models" / "secret", hidden_size=32)
    shared, own = (make_model(tmp_path / name / "support", hidden_size=size) for name, size in (("a", 32), ("b", 64)))
    with closing(connected(lab.url, bobs)) as wb, closing(connected(lab.url, eves)) as other:
        mine = wb.models.add(str(own))
        theirs = other.models.add(str(shared))
        other.share(theirs)
        assert wb.models.add("support@1").id == mine.id
        with database.write() as session:
            session.execute(
                update(ModelVersion).where(ModelVersion.id == theirs.id).values(path=str(folder.relative_to(lab.home)))
            )
        other.share(theirs, "private")
        with pytest.raises(RemoteError, match="no base model"):
            wb.models.add(str(folder))
    assert eve.id != bob.id
