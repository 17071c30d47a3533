"""Access tokens: short-lived JWTs, signed with HS256 by a key that their `kid` names."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt

from workbench.core.clock import utcnow
from workbench.core.settings import Settings

ISSUER, AUDIENCE, TYPE = "workbench", "workbench-api", "at+jwt"
LIFETIME = timedelta(minutes=10)
LEEWAY = timedelta(seconds=10)  # between the clocks of two servers
KEY_BYTES = 32
CLAIMS = ["iss", "aud", "sub", "sid", "epoch", "iat", "exp", "jti"]


@dataclass(frozen=True)
class Claims:
    """What an access token says; its holder's role is asked of the database."""

    user_id: str
    login_id: str
    epoch: int


@dataclass(frozen=True)
class Keys:
    """The keys of a key file: the one that signs, and those whose tokens are still taken."""

    current: str
    secrets: dict[str, bytes]

    def sign(self, claims: Claims) -> str:
        """Return a new access token."""
        now = utcnow()
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.user_id,
            "sid": claims.login_id,
            "epoch": claims.epoch,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(12),
        }
        headers = {"kid": self.current, "typ": TYPE}
        return jwt.encode(content, self.secrets[self.current], algorithm="HS256", headers=headers)

    def read(self, token: str) -> Claims | None:
        """Return what a token says, None unless it is one of ours that has not expired."""
        try:
            header = jwt.get_unverified_header(token)
            key = self.secrets.get(str(header.get("kid")))
            if key is None or header.get("typ") != TYPE:
                return None
            content: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": CLAIMS},
            )
        except jwt.PyJWTError:
            return None
        if not isinstance(content["epoch"], int):
            return None
        return Claims(str(content["sub"]), str(content["sid"]), content["epoch"])

    def derive(self, purpose: str, text: str) -> str:
        """Return a secret that only who has the keys can make of a text."""
        made = hmac.digest(self.secrets[self.current], f"{purpose}:{text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(made).decode().rstrip("=")


def key_file(settings: Settings) -> Path:
    """Return where the keys lie."""
    return settings.key_file or settings.home / "keys.json"


def keys(settings: Settings) -> Keys:
    """Return the keys in force; the first call makes the file, readable by its owner only."""
    path = key_file(settings)
    if not path.exists():
        fresh = _fresh()
        _write(path, {"current": fresh[0], "keys": dict([fresh])}, replace=False)
    return _read(path, path.stat().st_mtime_ns)


def rotate(settings: Settings) -> str:
    """Sign with a new key from now on, and take the tokens of the last one still; return the new key's id."""
    known = keys(settings)
    kid, secret = _fresh()
    kept = {known.current: base64.b64encode(known.secrets[known.current]).decode()}
    _write(key_file(settings), {"current": kid, "keys": kept | {kid: secret}}, replace=True)
    return kid


def _fresh() -> tuple[str, str]:
    return secrets.token_hex(4), base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> Keys:
    content = json.loads(path.read_text())
    return Keys(content["current"], {kid: base64.b64decode(key) for kid, key in content["keys"].items()})


def _write(path: Path, content: dict[str, Any], *, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    if replace:
        part.replace(path)
        return
    with contextlib.suppress(FileExistsError):  # another process was first: its keys are the ones
        os.link(part, path)
    part.unlink()
