"""`workbench admin` and `workbench audit`, without a server."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from workbench import cli
from workbench.accounts import people, signing
from workbench.accounts.tables import AuditEntry, Mail, User
from workbench.core.database import Database
from workbench.core.settings import Settings

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a home of its own; return its exit status."""

    def command(*words: str, typed: str = "") -> int:
        monkeypatch.setattr(sys, "argv", ["workbench", *words, "--home", str(tmp_path)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return command


def account(home: Path, email: str) -> User | None:
    database = Database(f"sqlite:///{home / 'workbench.db'}")
    with database.read() as session:
        found = people.by_address(session, email)
    database.close()
    return found


def test_the_first_admin_is_made_on_the_console(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("admin", "create", "Ada@Example.org", "--password-stdin", typed="a long password\n") == 0
    assert "can log in as admin" in capsys.readouterr().out
    made = account(tmp_path, "ada@example.org")
    assert made is not None
    assert (made.role, made.name, made.verified_at is not None) == ("admin", "Ada", True)
    assert "a long password" not in made.password_hash


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["x@y.org", "--role", "boss"], "a long password\n", "role"),
        (["x@y.org"], "short\n", "password"),
        (["no address"], "a long password\n", "email"),
        (["x@y.org"], "\n", "password"),
    ],
)
def test_what_cannot_be_an_account_is_refused_in_one_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], typed: str, said: str
) -> None:
    assert run("admin", "create", *words, "--password-stdin", typed=typed) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"workbench: {said}:")
    assert len(told.splitlines()) == 1
    assert typed.strip() not in told or not typed.strip()
    assert not (tmp_path / "workbench.db").exists(), "nothing was made"


def test_an_address_has_one_account_and_the_last_admin_stays(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("admin", "create", "ada@example.org", "--password-stdin", typed="a long password\n") == 0
    assert run("admin", "create", "ADA@example.org", "--password-stdin", typed="a long password\n") == 1
    assert run("admin", "role", "ada@example.org", "reviewer") == 1
    assert "last admin" in capsys.readouterr().err
    assert run("admin", "create", "bob@example.org", "--password-stdin", typed="a long password\n") == 0
    assert run("admin", "role", "ada@example.org", "reviewer") == 0
    assert run("admin", "role", "nobody@example.org", "reviewer") == 1
    found = account(tmp_path, "ada@example.org")
    assert found is not None
    assert found.role == "reviewer"


def test_an_invitation_is_a_link_and_a_mail(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("admin", "invite", "eve@example.org", "--role", "reviewer") == 0
    assert "/workbench/register?invitation=" in capsys.readouterr().out
    database = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    with database.write() as session:
        assert session.scalars(select(Mail.recipient)).all() == ["eve@example.org"]
        session.execute(delete(Mail))  # a mail that waits is the one place that holds its link
    database.close()


def test_the_audit_log_is_verified_and_a_change_shows(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("admin", "create", "ada@example.org", "--password-stdin", typed="a long password\n") == 0
    assert run("admin", "rotate-keys") == 0
    assert len(signing.keys(Settings(home=tmp_path)).secrets) == 2
    capsys.readouterr()
    assert run("audit", "verify", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["holds"], told["entries"]) == (True, 2)
    database = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    with database.write() as session:
        session.execute(update(AuditEntry).values(object="somebody else"))
    database.close()
    assert run("audit", "verify") == 1
    assert "does not hold" in capsys.readouterr().err
