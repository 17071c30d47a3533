from __future__ import annotations

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from workbench.accounts import signing
from workbench.accounts.signing import CLAIMS, LEEWAY, LIFETIME, Claims
from workbench.core.settings import Settings

WHO = Claims("usr_1", "login_1", 3)


def content(**changes: Any) -> dict[str, Any]:
    """Return a token's claims; a change by a timedelta is a time from now."""
    now = datetime.now(UTC)
    made = {"iss": "workbench", "aud": "workbench-api", "sub": "usr_1", "sid": "login_1", "epoch": 3, "jti": "x"}
    changed = {name: now + value if isinstance(value, timedelta) else value for name, value in changes.items()}
    return {**made, "iat": now, "exp": now + LIFETIME, **changed}


def forged(settings: Settings, *, algorithm: str = "HS256", key: Any = None, header: Any = None, **changes: Any) -> str:
    keys = signing.keys(settings)
    headers = {"kid": keys.current, "typ": "at+jwt"} | (header or {})
    claims = {name: value for name, value in content(**changes).items() if value is not None}
    return jwt.encode(claims, keys.secrets[keys.current] if key is None else key, algorithm=algorithm, headers=headers)


def test_a_token_says_who_it_stands_for(settings: Settings) -> None:
    assert signing.keys(settings).read(signing.keys(settings).sign(WHO)) == WHO
    assert signing.keys(settings).read(forged(settings)) == WHO


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_required(settings: Settings, claim: str) -> None:
    assert signing.keys(settings).read(forged(settings, **{claim: None})) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"iss": "another"},
        {"epoch": "3"},
        {"exp": timedelta(hours=-1)},
        {"iat": timedelta(hours=1)},
        {"header": {"typ": "JWT"}},
        {"header": {"kid": "unknown"}},
        {"header": {"kid": "../../etc/passwd"}},
        {"header": {"crit": ["exp"]}},
        {"algorithm": "HS512", "key": b"x" * 64},
        {"key": b"x" * 32},
    ],
    ids=str,
)
def test_a_token_that_is_wrong_in_one_thing_is_nothing(settings: Settings, changes: dict[str, Any]) -> None:
    assert signing.keys(settings).read(forged(settings, **changes)) is None


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "RS256", "HS384"])
def test_the_header_does_not_choose_the_algorithm(settings: Settings, algorithm: str) -> None:
    _, body, signature = forged(settings).split(".")
    header = json.dumps({"alg": algorithm, "typ": "at+jwt", "kid": signing.keys(settings).current}).encode()
    encoded = base64.urlsafe_b64encode(header).decode().rstrip("=")
    for end in (signature, ""):
        assert signing.keys(settings).read(f"{encoded}.{body}.{end}") is None


@pytest.mark.parametrize("string", ["", ".", "..", "a.b.c", "x" * 10_000, "é.é.é", "wbk_x", "\x00.\x00.\x00"])
def test_any_other_string_is_nothing(settings: Settings, string: str) -> None:
    assert signing.keys(settings).read(string) is None


def test_an_expired_token_is_taken_for_the_leeway_only(settings: Settings) -> None:
    assert signing.keys(settings).read(forged(settings, exp=-LEEWAY / 2)) == WHO
    assert signing.keys(settings).read(forged(settings, exp=-LEEWAY * 2)) is None


def test_the_key_file_is_its_owners_alone_and_made_once(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = {keys.current for keys in threads.map(lambda _: signing.keys(settings), range(32))}
    assert len(made) == 1
    assert stat.S_IMODE((settings.home / "keys.json").stat().st_mode) == 0o600
    assert [path.name for path in settings.home.glob("*keys*")] == ["keys.json"]


def test_rotating_takes_the_last_key_along_and_no_older_one(settings: Settings) -> None:
    first = signing.keys(settings).sign(WHO)
    signing.rotate(settings)
    second = signing.keys(settings).sign(WHO)
    assert [signing.keys(settings).read(token) for token in (first, second)] == [WHO, WHO]
    signing.rotate(settings)
    assert [signing.keys(settings).read(token) for token in (first, second)] == [None, WHO]


def test_servers_of_different_homes_do_not_take_each_others_tokens(tmp_path: Path) -> None:
    first, second = (Settings(home=tmp_path / name) for name in ("one", "two"))
    assert signing.keys(second).read(signing.keys(first).sign(WHO)) is None
