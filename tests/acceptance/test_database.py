"""The database as its operator has it: the admin page, and the move to PostgreSQL by the README's own commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import postgresql
import pytest
from browser import opened
from playwright.sync_api import expect
from servers import running_lab
from sqlalchemy import make_url

from workbench.core.settings import FILE, Settings
from workbench.testing import demo_rows

pytestmark = pytest.mark.slow
README = (Path(__file__).parents[2] / "README.md").read_text()
URL = "postgresql://workbench@db.example/workbench"


@pytest.fixture
def target(postgresql_url: str) -> Iterator[str]:
    """The URL of an empty database, as an operator writes it."""
    with postgresql.empty_database(postgresql_url) as url:
        yield make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def run(line: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the README as it stands there, in a shell."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"WORKBENCH_HOME": str(home), "PATH": programs} | variables
    return subprocess.run(line, shell=True, cwd=home, env=environment, capture_output=True, text=True, timeout=300)


def test_the_move_to_postgresql_as_the_readme_has_it(target: str, tmp_path: Path) -> None:
    (block,) = (block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "transfer" in block)
    *lines, last = block.strip().replace(URL, target).splitlines()
    home = tmp_path / "home"
    with running_lab(home, WORKBENCH_AGENT="external", WORKBENCH_DATABASE_URL=f"sqlite:///{home}/workbench.db") as lab:
        data = lab.wb.datasets.upload(demo_rows(), name="before the move")
        lab.disconnect()
        for line in lines:
            ended = run(line, home)
            assert ended.returncode == 0, line + ended.stderr
        lab.process.wait(timeout=30)
    assert last == "workbench lab"
    assert target in (home / FILE).read_text()
    assert (home / FILE).stat().st_mode & 0o077 == 0
    with running_lab(home) as lab:
        assert lab.wb.health().database == "postgresql"
        assert lab.wb.datasets["before the move"].id == data.id
        assert lab.wb.datasets["before the move"].head(3)


@pytest.mark.browser
def test_the_admin_page_backs_up_and_drills(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_lab(home) as lab:
        lab.wb.datasets.upload(demo_rows(), name="rows")
        with opened(lab.url, viewport={"width": 1280, "height": 900}) as page:
            page.goto(f"{lab.url}login?token={lab.token}")
            page.goto(f"{lab.url}workbench/admin")
            section = page.locator("section[aria-labelledby=database]")
            expect(section).to_contain_text("There is no backup yet.")
            for button, kind in (("Back up now", "Backup"), ("Drill the newest backup", "Drill")):
                section.get_by_role("button", name=button).click()
                row = section.locator("tr", has=page.get_by_role("cell", name=kind, exact=True))
                expect(row).to_contain_text("done", timeout=60_000)
                expect(row).to_contain_text("2 stored files")
        with opened(lab.url, viewport={"width": 390, "height": 800}, color_scheme="dark", locale="zh-CN") as page:
            page.goto(f"{lab.url}login?token={lab.token}")
            page.goto(f"{lab.url}workbench/admin")
            expect(page.locator("section[aria-labelledby=database]")).to_contain_text("立即备份")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
    (backup,) = (home / "backups").glob("*.zip")
    assert json.loads(run(f"workbench db verify {backup} --json", home).stdout)["objects"] == 2


def test_a_home_comes_back_from_its_backup(tmp_path: Path) -> None:
    """Everything but the backup with its files is gone."""
    home, other = tmp_path / "home", tmp_path / "other"
    with running_lab(home, WORKBENCH_AGENT="external") as lab:
        rows = lab.wb.datasets.upload(demo_rows(), name="rows").head(3)
        ended = run(f"workbench db backup {tmp_path / 'all.zip'} --objects --json", home)
        assert json.loads(ended.stdout)["missing"] == 0, ended.stderr
        refused = run(f"workbench db restore {tmp_path / 'all.zip'}", home)
        assert refused.returncode == 1
        assert "workbench stop" in refused.stderr
    other.mkdir()
    ended = run(f"workbench db restore {tmp_path / 'all.zip'}", other)
    assert ended.returncode == 0, ended.stderr
    with running_lab(other, WORKBENCH_AGENT="external") as lab:
        assert lab.wb.datasets["rows"].head(3) == rows


def test_a_server_does_not_start_on_a_database_that_it_does_not_know(target: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    Settings(home=home).keep("database_url", target)
    assert run("workbench db upgrade --json", home).returncode == 0
    postgresql.administer(target, "UPDATE alembic_version SET version_num = '9999'")
    ended = run("workbench lab --no-browser --port 0", home)
    assert ended.returncode == 1
    assert "at revision 9999, which belongs to a newer workbench" in ended.stderr
    postgresql.administer(target, "UPDATE alembic_version SET version_num = '0003'")
    assert "workbench db upgrade" in run("workbench lab --no-browser --port 0", home).stderr
