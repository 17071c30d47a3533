"""`workbench login` and `workbench logout`: a personal token for this computer's scripts and batches."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import typer

from workbench import credentials, launch
from workbench.accounts import routes
from workbench.accounts.schemas import TokenCreate
from workbench.core.errors import Invalid, NotFound, RemoteError, Unauthenticated
from workbench.core.http import HTTP

UNAUTHORIZED = 401


class NoServerHere(NotFound):
    """No workbench server runs in this home."""

    code = "login.no_server"


class TokenEnds(Invalid):
    """This token ends by itself."""

    code = "login.token_ends"


class NotLoggedIn(NotFound):
    """You are not logged in."""

    code = "login.none"


def login(home: Path, url: str | None, token_stdin: bool) -> None:
    """Store the server's address and a personal token, which a Jupyter token is first exchanged for."""
    http = HTTP(url or _running(home), _ask(token_stdin))
    try:
        file = credentials.save(_personal(http))
    finally:
        http.close()
    typer.echo(f"Logged in to {http.url}; the token lies in {file}.")


def logout() -> None:
    """Revoke the stored token, and remove it from this computer; a token that was revoked before is no error."""
    known = credentials.load()
    if known is None:
        raise NotLoggedIn("You are not logged in: there is nothing to revoke.")
    http = HTTP(known.url, known.token)
    try:
        http.call(routes.end_current)
    except RemoteError as error:
        if error.remote.status != UNAUTHORIZED:
            raise
    finally:
        http.close()
    credentials.forget()
    typer.echo(f"Logged out of {known.url}.")


def _running(home: Path) -> str:
    server = launch.running_server(home)
    if server is None:
        raise NoServerHere(f"No workbench server runs in {home}: start `workbench lab`, or name the server by --url.")
    return str(server["url"])


def _ask(token_stdin: bool) -> str:
    text = sys.stdin.readline() if token_stdin else typer.prompt("Token", hide_input=True, err=True)
    token = str(text).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise Unauthenticated("No token was given; `workbench lab` prints the server's.")
    return token


def _personal(http: HTTP) -> credentials.Credentials:
    """Return the personal token that the connection uses, or a new one for a Jupyter token."""
    found = http.call(routes.current)
    if found.token_id is not None:
        return credentials.Credentials(url=http.url, token=http.token, token_id=found.token_id)
    if found.holder not in ("owner", "person"):
        raise TokenEnds(f"This is the token of a {found.holder}, which ends with it; give a Jupyter or personal token.")
    host = re.sub(r"[^\w.\-]", "-", socket.gethostname())[:80]
    made = http.call(routes.create, body=TokenCreate(name=f"login on {host}"))
    return credentials.Credentials(url=http.url, token=made.token, token_id=made.id)
