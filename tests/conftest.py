"""What every test may use: both stores, a context, and a check that no process is left behind."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import postgresql
import psutil
import pytest
import servers
from people import PASSWORD, SMTP_PASSWORD

from workbench.accounts.people import owner
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.settings import Settings
from workbench.migrations.tables import METADATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files with slow tests come first, so that no core is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session when a test has left a process of its own running."""
    base = f"{tmp_path_factory.getbasetemp()}/"
    yield
    deadline = time.monotonic() + 5
    while (left := _left_over(base)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "tests left processes running:\n" + "\n".join(left)


#: What no file may hold after the tests: passwords, and what looks like one of our tokens or links.
SECRETS = re.compile(
    rb"wb[krs]_[\w-]{40}|eyJhbGciOi[\w-]+\.[\w-]+\.[\w-]{20}|\?(?:code|invitation)=[\w-]{40}|"
    + b"|".join(re.escape(secret.encode()) for secret in (PASSWORD, SMTP_PASSWORD))
)
#: Where a token is kept on purpose, readable by its owner only.
KEPT = {"credentials.json"}
LARGEST = 64 << 20  # bytes; weights and data beyond hold no secret


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_written_down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session when a secret of a test lies in any file that the servers have written.

    Those are logs, databases, executed notebooks and reports. Mails are printed where no mail server is set; a log with
    such a mail is passed over for its links alone.
    """
    yield
    found = []
    for path in tmp_path_factory.getbasetemp().rglob("*"):
        if not path.is_file() or path.is_symlink() or path.name in KEPT or path.stat().st_size > LARGEST:
            continue
        secrets = {match for match in SECRETS.findall(path.read_bytes()) if not _is_printed_mail(path, match)}
        found += [f"{path}: {secret[:12]!r}…" for secret in secrets]
    assert not found, "secrets were written down:\n" + "\n".join(found[:50])


def _is_printed_mail(path: Path, secret: bytes) -> bool:
    return path.name == "test-server.log" and secret.startswith(b"?") and b"WORKBENCH_SMTP_URL" in path.read_bytes()


def _left_over(base: str) -> list[str]:
    own = {child.pid for child in psutil.Process().children(recursive=True)}
    runners = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            ours = process.pid in own or process.environ().get("WORKBENCH_HOME", "").startswith(base)
            ours = ours or (process.pid not in runners and any(base in word for word in command))
            if ours and process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in "".join(command):
                found.append(f"{process.pid}: {' '.join(command)}")
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server on which databases can be made."""
    with postgresql.server() as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def every_home_on_the_wanted_store(request: pytest.FixtureRequest) -> None:
    """`WORKBENCH_TEST_STORE=postgresql` runs the servers of all tests on PostgreSQL."""
    if os.environ.get("WORKBENCH_TEST_STORE") == "postgresql":
        servers.POSTGRESQL = request.getfixturevalue("postgresql_url")


def _upgraded(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


@pytest.fixture(scope="session")
def postgresql_database(postgresql_url: str) -> Iterator[str]:
    """The URL of an upgraded database, which each test finds empty."""
    with postgresql.empty_database(postgresql_url) as url:
        _upgraded(url)
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "workbench.db"
    _upgraded(f"sqlite:///{path}")
    return path


@pytest.fixture
def empty_database_url(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without tables, on each store."""
    if store == "sqlite":
        yield f"sqlite:///{tmp_path / 'workbench.db'}"
        return
    with postgresql.empty_database(request.getfixturevalue("postgresql_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """Each of the two databases that we support."""
    return str(request.param)


@pytest.fixture
def database(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh, upgraded database, on each store."""
    if store == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "workbench.db")
        yield from _open(f"sqlite:///{tmp_path / 'workbench.db'}")
        return
    url = request.getfixturevalue("postgresql_database")
    postgresql.administer(url, f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY CASCADE")
    yield from _open(url)


def _open(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def context(database: Database, settings: Settings) -> Iterator[Context]:
    """The owner's request, in one write transaction."""
    with database.write() as session:
        yield Context(session, owner(), settings)
