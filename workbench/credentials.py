"""The user's own login: where the server is, and a personal token, in a file that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError

from workbench.core.errors import Conflict
from workbench.core.schemas import Schema


class UnsafeCredentials(Conflict):
    """The credentials file cannot be used."""

    code = "credentials.unsafe"


class Credentials(Schema):
    """What `workbench login` stores."""

    url: str
    token: str = Field(repr=False)
    #: Of the personal token, to revoke it.
    token_id: str


def path() -> Path:
    """Return where the credentials lie."""
    return Path(platformdirs.user_config_dir("workbench", appauthor=False)) / "credentials.json"


def load() -> Credentials | None:
    """Return the stored credentials, None when there are none; refuse a file that others can read."""
    file = path()
    try:
        mode = file.stat().st_mode
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    if stat.S_IMODE(mode) & 0o077:
        raise UnsafeCredentials(f"Others can read {file}: run `chmod 600` on it, or `workbench login` again.")
    try:
        return Credentials.model_validate_json(content)
    except ValidationError as error:
        raise UnsafeCredentials(f"{file} does not hold what `workbench login` writes; run it again.") from error


def save(credentials: Credentials) -> Path:
    """Store the credentials, whole and for their owner only; return where."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(credentials.model_dump_json())
    partial.replace(file)
    return file


def forget() -> None:
    """Remove the file."""
    path().unlink(missing_ok=True)
