"""In the browser: from the registration, by the mail's link, to the end of the login; and what each role sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from mailbox import Mailbox, running_mailbox
from pathlib import Path

import pytest
from browser import open_notebook, opened, run_all
from people import PASSWORD, make_user
from playwright.sync_api import Page, expect
from servers import Lab, running_dashboards, running_lab
from sqlalchemy import update

from workbench.accounts.tables import Login, User
from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.testing import demo_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EMAIL = "nora@example.org"


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    with running_mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def lab(post: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("people")
    (folder / "jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    variables = {"JUPYTER_CONFIG_DIR": str(folder), "WORKBENCH_AGENT": "external", "WORKBENCH_SMTP_URL": post.url}
    with running_lab(folder / "home", WORKBENCH_REGISTRATION="open", **variables) as lab:
        yield lab


@pytest.fixture(scope="module")
def database(lab: Lab) -> Iterator[Database]:
    database = lab.database()
    with database.write() as session:
        make_user(session, "Adam", "admin")
    yield database
    database.close()


def log_in(page: Page, email: str) -> None:
    page.fill("[name=email]", email)
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")


def test_from_the_registration_to_the_logout(lab: Lab, post: Mailbox, database: Database, tmp_path: Path) -> None:
    with opened(lab.url, viewport={"width": 1280, "height": 900}) as page:
        page.goto(f"{lab.url}lab")
        page.click("text=Make an account")
        page.fill("[name=name]", "Nora")
        page.fill("[name=email]", EMAIL)
        page.fill("[name=password]", "short")
        page.click("button.primary")
        assert page.locator("[name=password]:invalid").count() == 1, "the browser says what is missing"
        page.fill("[name=password]", PASSWORD)
        page.click("button.primary")
        expect(page.locator(".notice")).to_contain_text("a mail with a link")
        page.goto(f"{lab.url}login")
        log_in(page, EMAIL)
        expect(page.locator(".error")).to_contain_text("not verified")
        page.goto(post.link_for(EMAIL))
        page.click("button.primary")
        expect(page.locator(".notice")).to_contain_text("verified")
        page.click("main a >> text=Log in")
        log_in(page, EMAIL)
        page.wait_for_url("**/workbench")
        assert page.locator("main a").all_inner_texts() == ["Dashboards", "Account"], "a reviewer’s ways"

        page.click("main >> text=Account")
        page.wait_for_selector("#profile")
        assert page.locator("#tokens").count() == 0, "no personal tokens for a reviewer"
        assert page.goto(f"{lab.url}workbench/admin").status == 403  # type: ignore[union-attr]
        expect(page.locator("div.error")).to_contain_text("role does not allow")
        page.goto(f"{lab.url}lab")
        assert page.url == f"{lab.url}workbench", "a reviewer has no JupyterLab"

        page.goto(f"{lab.url}workbench/account")
        page.wait_for_selector("#profile")
        with database.write() as session:  # as if the tab had been left open for an hour
            session.execute(update(Login).values(last_used_at=utcnow() - timedelta(hours=1)))
        page.fill("[aria-labelledby=profile] [name=name]", "Nora N.")
        page.click("[aria-labelledby=profile] button")
        expect(page.locator(".notice")).to_contain_text("Saved")
        page.screenshot(path=tmp_path / "account.png", full_page=True)
        page.click("text=Log out")
        page.wait_for_url("**/login")
        for path in ("workbench/account", "lab", "workbench"):
            page.goto(f"{lab.url}{path}")
            assert "/login?next=" in page.url, path
        assert page.request.get(f"{lab.url}api/auth/me").status in (401, 403)


def test_an_admin_makes_a_reviewer_a_researcher_who_then_has_lab(lab: Lab, database: Database, tmp_path: Path) -> None:
    with opened(lab.url, viewport={"width": 1280, "height": 1400}) as page:
        page.goto(f"{lab.url}workbench/admin")
        log_in(page, "adam@example.org")
        page.wait_for_selector("#users")
        page.select_option("[aria-label='Role: nora@example.org']", "researcher")
        expect(page.locator(".notice")).to_contain_text("Saved")
        page.fill("[aria-labelledby=teams] [name=name]", "Science")
        page.click("[aria-labelledby=teams] form button")
        page.click("[aria-labelledby=teams] summary")
        page.check(f"[aria-labelledby=teams] label:has-text('{EMAIL}') input")
        page.click("[aria-labelledby=teams] td button:has-text('Save')")
        expect(page.locator("[aria-labelledby=teams] summary")).to_contain_text("Nora")
        page.select_option("[aria-labelledby=invitations] [name=role]", "reviewer")
        page.click("[aria-labelledby=invitations] form button")
        expect(page.locator("code.secret")).to_contain_text("workbench/register?invitation=")
        page.click("text=Verify the chain")
        expect(page.locator(".notice")).to_contain_text("holds")
        page.screenshot(path=tmp_path / "admin.png", full_page=True)
    with database.read() as session:
        assert session.query(User).filter_by(email=EMAIL).one().role == "researcher"

    with opened(lab.url) as page:
        page.goto(f"{lab.url}lab")
        log_in(page, EMAIL)
        page.wait_for_url("**/lab**")
        page.goto(f"{lab.url}workbench/account")
        page.fill("[aria-labelledby=tokens] [name=name]", "laptop")
        page.click("[aria-labelledby=tokens] form button")
        token = page.inner_text("code.secret")
        assert token.startswith("wbk_")
        page.reload()
        page.wait_for_selector("#tokens")
        assert token not in page.content(), "a token is shown once"


def test_the_account_is_a_panel_in_a_notebook(lab: Lab, database: Database, tmp_path: Path) -> None:
    notebook = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3", "display_name": "P"}},
        "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None,
                   "source": "import workbench\nworkbench.connect().panel('account')"}],
    }  # fmt: skip
    (lab.home / "notebooks" / "account.ipynb").write_text(json.dumps(notebook))
    with opened(lab.url) as page:
        open_notebook(page, lab, "account.ipynb", alone=True)
        run_all(page)
        frame = page.frame_locator("iframe[title=Account]")
        expect(frame.locator("#app")).to_contain_text("owner of this server")
        page.screenshot(path=tmp_path / "panel.png")


def test_a_reviewer_sees_what_was_shared_and_nothing_else(lab: Lab, database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        make_user(session, "Rhea", "reviewer")
    shared = lab.wb.datasets.upload(demo_rows()[:20], name="for everyone")
    lab.wb.datasets.upload(demo_rows()[20:40], name="kept back")
    lab.wb.share(shared)
    phone = {"width": 390, "height": 900}
    with (
        running_dashboards(lab.home) as (url, _),
        opened(url, lab.url, viewport=phone, color_scheme="dark", locale="zh-CN") as page,
    ):
        page.goto(f"{url}voila/render/chat.ipynb")
        assert "/login?next=" in page.url
        page.screenshot(path=tmp_path / "login-phone.png")
        log_in(page, "rhea@example.org")
        page.wait_for_url(f"{url}voila/render/chat.ipynb**")
        page.wait_for_selector(".wb-chat-side, .wb-panel")
        seen = page.request.get(f"{lab.url}api/datasets").json()["items"]
        assert [each["name"] for each in seen] == ["for everyone"]
        page.goto(f"{lab.url}logout")
        page.goto(f"{url}voila/render/runs.ipynb")
        assert "/login?next=" in page.url, "the dashboards end with the login"
