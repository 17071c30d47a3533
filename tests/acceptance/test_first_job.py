"""A newcomer's first job, counted in clicks; and what a reviewer then sees under Voilà."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import RUN_PATIENCE, drop, open_notebook, opened, run_all
from playwright.sync_api import Page
from servers import Lab, running_dashboards, running_lab

from workbench.testing import demo_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_CLICKS = 8
COUNT = """() => {
  window.clicks = 0;
  document.addEventListener("click", (event) => { window.clicks += event.isTrusted; }, true);
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("first")
    (folder / "jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    with running_lab(folder / "home", JUPYTER_CONFIG_DIR=str(folder), WORKBENCH_LANGUAGE="en") as lab:
        yield lab


@pytest.fixture(scope="module")
def dashboards(lab: Lab) -> Iterator[str]:
    """The URL of a dashboards process beside the server."""
    with running_dashboards(lab.home) as (url, _):
        yield url


def sharegpt() -> str:
    rows = (
        [{"from": "human", "value": row["prompt"]}, {"from": "gpt", "value": row["completion"]}]
        for row in demo_rows()[:120]
    )
    return "".join(json.dumps({"conversations": turns}) + "\n" for turns in rows)


def figures(page: Page) -> dict[str, list[str]]:
    """Read the metric table: each metric's cells."""
    page.wait_for_selector(".wb-table tbody tr:visible >> nth=4", timeout=RUN_PATIENCE)
    rows = page.locator(".wb-table tbody tr:visible")
    texts = [rows.nth(place).locator("th, td").all_inner_texts() for place in range(rows.count())]
    return {name: cells for name, *cells in texts}


def test_the_main_job_from_a_sharegpt_file_in_few_clicks(lab: Lab, base: Path, tmp_path: Path) -> None:
    with opened(lab.url) as page:
        open_notebook(page, lab)
        page.evaluate(COUNT)
        page.click(".lm-MenuBar-item:has-text('Run')")
        page.click(".lm-Menu-item[data-command='runmenu:run-all']")
        page.wait_for_selector(".wb-drop-zone")
        drop(page, "chats.jsonl", sharegpt())  # a gesture of the mouse, counted below
        page.wait_for_selector(".wb-grid-row >> text=What is the capital of France?")
        page.click(".wb-form [name=base]")
        page.keyboard.type(str(base))
        page.click(".wb-form [name=max_steps]")
        page.keyboard.type("20")
        page.click(".wb-form button[type=submit]")
        table = figures(page)
        assert "Exact match (higher is better)" in table
        assert page.locator(".wb-sample").count() > 0
        clicks = page.evaluate("window.clicks") + 1
        page.screenshot(path=tmp_path / "first.png")
    assert clicks <= MOST_CLICKS
    assert len(lab.wb.runs.list()) == len(lab.wb.jobs.list(kind="evaluate")) == 1


def test_a_reviewer_sees_the_same_numbers_under_voila(lab: Lab, dashboards: str, tmp_path: Path) -> None:
    with opened(lab.url) as page:
        open_notebook(page, lab, "comparisons.ipynb", alone=True)
        run_all(page)
        in_lab, verdict = figures(page), page.inner_text(".wb-verdict:visible")
    for width, theme in ((1280, "light"), (390, "dark")):
        with opened(dashboards, lab.url, viewport={"width": width, "height": 1600}) as page:
            page.goto(f"{lab.url}workbench/dashboards?token={lab.token}")
            page.goto(f"{dashboards}voila/render/comparison.ipynb?theme={theme}")
            assert figures(page) == in_lab
            assert page.inner_text(".wb-verdict:visible") == verdict
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=tmp_path / f"comparison-{width}.png")


def test_a_reviewer_sees_the_run_and_its_lineage(lab: Lab, dashboards: str, tmp_path: Path) -> None:
    run = lab.wb.runs[lab.wb.runs.list()[0].id]
    steps = [line.step for line in run.metrics()]
    with opened(dashboards, lab.url) as page:
        page.goto(f"{lab.url}workbench/dashboards?token={lab.token}")
        page.click("a[href*='runs.ipynb']")
        page.wait_for_function(f"document.querySelector('.js-plotly-plot')?.data?.[0]?.x?.length === {len(steps)}")
        plotted = page.evaluate("Array.from(document.querySelector('.js-plotly-plot').data[0].x)")
        assert plotted == steps
        assert page.locator("button:has-text('Cancel'):visible, button:has-text('Resume'):visible").count() == 0
        page.goto(f"{dashboards}voila/render/lineage.ipynb")
        page.wait_for_selector(".wb-node")
        names = page.locator(".wb-node strong").all_inner_texts()
        assert {f"{run.base.name}", f"{run.model.name}", "chats v1"} <= set(names)
        page.wait_for_selector(".wb-grid-row")
        assert page.locator(".wb-form").count() == 0
        page.screenshot(path=tmp_path / "lineage.png", full_page=True)
