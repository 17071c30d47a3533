"""Chromium on JupyterLab's pages, as a user has it before them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from servers import Lab

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds; only a broken test waits so long
RUN_PATIENCE = 240_000  # milliseconds for a whole run on a busy machine

READY = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""
COMMAND = "([command, options]) => void window.jupyterapp.commands.execute(command, options)"
FILE = """([name, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([content], name));
  return transfer;
}"""


def chromium() -> str:
    """Return the browser's program; without one the test is skipped, or fails in CI."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("Chromium is not installed: install the packages `chromium` and `fonts-noto-cjk`")
    return found


@contextmanager
def opened(*urls: str, **options: Any) -> Iterator[Page]:
    """Open a page that fails the test when it asked any place but `urls` for something, or threw an error."""
    program = chromium()
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(**({"viewport": {"width": 1280, "height": 2400}} | options))
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: faults.append(request.url) if _leaves(urls, request.url) else None)
        page.on("dialog", lambda dialog: dialog.accept())
        yield page
        browser.close()
    assert faults == []


def _leaves(urls: tuple[str, ...], url: str) -> bool:
    return not url.startswith((*urls, "data:", "blob:"))


def open_notebook(page: Page, lab: Lab, name: str = "workbench.ipynb", *, alone: bool = False) -> None:
    """Open a notebook; `alone` without those that an earlier page had left open."""
    page.goto(f"{lab.url}lab/tree/{name}?token={lab.token}{'&reset' * alone}")
    wait_for_kernel(page)


def wait_for_kernel(page: Page) -> None:
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.evaluate(READY)


def run_all(page: Page) -> None:
    page.evaluate(COMMAND, ["notebook:run-all-cells", {}])


def drop(page: Page, name: str, content: str) -> None:
    transfer = page.evaluate_handle(FILE, [name, content])
    page.dispatch_event(".wb-drop-zone", "drop", {"dataTransfer": transfer})


def fill_in(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.fill(f".wb-form [name={name}]", value)


def take_pictures(page: Page, folder: Path) -> None:
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate(COMMAND, ["apputils:change-theme", {"theme": theme}])
        page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        page.screenshot(path=folder / f"{theme.split()[1].lower()}.png")
