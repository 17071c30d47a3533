"""The queue as a researcher changes it, in JupyterLab, and as a reviewer sees it, under Voilà."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import RUN_PATIENCE, open_notebook, opened, run_all, take_pictures
from playwright.sync_api import Page
from servers import Lab, running_dashboards, running_lab, until

from workbench.testing import demo_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACES = (
    "[...document.querySelectorAll('.wb-queue li')].map(li => li.querySelector('strong').textContent.at(-1)).join('')"
)
FOCUSED = "document.activeElement.closest('li')?.querySelector('strong').textContent.at(-1)"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Lab]:
    """A server with one CPU for jobs, which the first run holds until it is cancelled."""
    folder = tmp_path_factory.mktemp("queue")
    (folder / "jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in demo_rows()[:40]))
    variables = {"JUPYTER_CONFIG_DIR": str(folder), "WORKBENCH_LANGUAGE": "en", "WORKBENCH_CPUS": "1"}
    with running_lab(folder / "home", **variables) as lab:
        for name in "ABCDE":
            data = lab.wb.datasets.upload(folder / "rows.jsonl", name=name, test_fraction=0)
            run = lab.wb.train(base=str(base), data=data["train"], max_steps=100_000 if name == "A" else 1)
            if name == "A":
                until(lambda run=run: run.state == "running", 120, "the first run's start")
        yield lab


def wait_for(page: Page, order: str) -> None:
    page.wait_for_function(f"{PLACES} === '{order}'")


def press(page: Page, title: str, action: str) -> None:
    page.click(f".wb-queue li:has(strong:text-matches(' {title}$')) [data-action={action}]")


def test_jobs_change_places_by_button_key_and_drag(lab: Lab, tmp_path: Path) -> None:
    with opened(lab.url) as page:
        open_notebook(page, lab, "queue.ipynb", alone=True)
        run_all(page)
        wait_for(page, "ABCDE")
        page.wait_for_selector("text=/while “.* on A” runs/")
        press(page, "D", "up")
        wait_for(page, "ABDCE")
        page.wait_for_function(f"{FOCUSED} === 'D'")
        page.keyboard.press("Enter")  # the button has kept the focus
        wait_for(page, "ADBCE")
        press(page, "E", "first")
        wait_for(page, "AEDBC")
        page.focus(".wb-queue li >> nth=1")
        page.keyboard.press("Alt+ArrowDown")
        wait_for(page, "ADEBC")
        page.wait_for_function(f"{FOCUSED} === 'E'")
        page.keyboard.press("Alt+ArrowUp")
        wait_for(page, "AEDBC")
        page.drag_and_drop(".wb-queue li >> nth=4", ".wb-queue li >> nth=2", target_position={"x": 60, "y": 4})
        wait_for(page, "AECDB")
        take_pictures(page, tmp_path)

        assert [one.job.title[-1] for one in lab.wb.jobs.queue().items] == [*"AECDB"]
        press(page, "C", "cancel")
        wait_for(page, "AEDB")
        assert page.locator(".wb-queue .wb-trouble").is_hidden()


def test_a_reviewer_sees_it_without_buttons(lab: Lab, tmp_path: Path) -> None:
    phone = {"width": 390, "height": 900}
    with (
        running_dashboards(lab.home) as (url, ticket),
        opened(url, lab.url, viewport=phone, color_scheme="dark", locale="zh-CN") as page,
    ):
        page.goto(f"{url}?ticket={ticket}")
        page.goto(f"{url}voila/render/queue.ipynb")
        wait_for(page, "AEDB")
        assert page.locator(".wb-queue button").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=tmp_path / "phone.png")


def test_what_runs_is_cancelled_and_the_next_one_starts(lab: Lab) -> None:
    with opened(lab.url) as page:
        open_notebook(page, lab, "queue.ipynb", alone=True)
        run_all(page)
        wait_for(page, "AEDB")
        press(page, "A", "cancel")
        page.wait_for_selector("text=Nothing runs and nothing waits.", timeout=RUN_PATIENCE)
    ended = {job.title[-1]: job.state for job in lab.wb.jobs.list()}
    assert ended == {"A": "cancelled", "C": "cancelled"} | dict.fromkeys("BDE", "succeeded")
    started = {job.title[-1]: job.started_at for job in lab.wb.jobs.list() if job.state == "succeeded"}
    assert sorted(started, key=lambda title: started[title]) == [*"EDB"]
