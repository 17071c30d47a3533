"""The main job as a researcher does it: in JupyterLab, in Chromium, with a reload in the middle of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import COMMAND, RUN_PATIENCE, drop, fill_in, open_notebook, opened, run_all, take_pictures, wait_for_kernel
from playwright.sync_api import Page
from servers import Lab, attempt_lines, running_lab, until

from workbench.testing import demo_rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETTINGS = {"max_steps": "3000", "batch_size": "8", "learning_rate": "1e-3", "max_length": "64"}
MORE_SETTINGS = {"logging_steps": "10", "save_steps": "5000"}
LOGGED_STEPS = list(range(10, 3001, 10))

SAVE = "() => window.jupyterapp.commands.execute('docmanager:save')"
STEPS = list(range(10, 3001, 10))

SAVE = "() => window.jupyterapp.commands.execute('docmanager:save')"
FILE = """([name, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([content], name));
  return transfer;
}"""
STEPS = "Array.from(document.querySelector('.js-plotly-plot')?.data?.[0]?.x ?? [])"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server whose pages let the test call JupyterLab's commands."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    with running_lab(folder / "home", JUPYTER_CONFIG_DIR=str(folder), WORKBENCH_LANGUAGE="en") as lab:
        yield lab


@pytest.fixture
def page(lab: Lab) -> Iterator[Page]:
    with opened(lab.url) as page:
        yield page


def plotted(page: Page) -> list[int]:
    return [int(step) for step in page.evaluate(STEPS)]


def wait_for_points(page: Page, count: int) -> None:
    page.wait_for_function(f"{STEPS}.length >= {count}", timeout=RUN_PATIENCE)


def saved(page: Page, lab: Lab) -> bool:
    """Save the notebook; tell whether its file holds the panel's output."""
    page.evaluate(SAVE)
    return "application/vnd.jupyter.widget-view" in (lab.home / "notebooks" / "workbench.ipynb").read_text()


def test_the_main_job(page: Page, lab: Lab, base: Path, tmp_path: Path) -> None:
    open_notebook(page, lab)
    run_all(page)
    rows = demo_rows()
    page.wait_for_selector(".wb-drop-zone")
    drop(page, "support.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    page.wait_for_selector(f".wb-grid-row >> text={rows[0]['prompt']}")
    assert 'took column "prompt" for the prompt' in page.inner_text(".wb-step >> nth=0")

    fill_in(page, base=str(base), **SETTINGS)
    page.click(".wb-form-more summary")
    fill_in(page, **MORE_SETTINGS)
    page.click(".wb-form button[type=submit]")
    wait_for_points(page, 3)
    run = lab.wb.runs[lab.wb.runs.list()[0].id]
    before = plotted(page)
    assert run.state == "running"
    assert before == LOGGED_STEPS[: len(before)]

    until(lambda: saved(page, lab), 90, "the notebook's save")
    page.reload()
    wait_for_kernel(page)
    wait_for_points(page, len(before) + 1)
    assert run.state == "running"
    again = plotted(page)
    assert again == LOGGED_STEPS[: len(again)]

    page.wait_for_selector(".wb-badge[data-state=succeeded]", timeout=RUN_PATIENCE)
    page.wait_for_selector(".wb-verdict", timeout=RUN_PATIENCE)
    written = [line["step"] for line in attempt_lines(lab.home, run.id, 1)]
    assert plotted(page) == written == LOGGED_STEPS
    assert page.locator(".wb-sample").count() > 0
    assert page.locator(".wb-table tbody tr").count() == 5
    take_pictures(page, tmp_path)


def test_a_restarted_kernel_finds_the_run_again(page: Page, lab: Lab) -> None:
    open_notebook(page, lab)
    page.wait_for_selector(".wb-sample")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.evaluate(COMMAND, ["notebook:clear-all-cell-outputs", {}])
    page.wait_for_selector(".wb-panel", state="detached")
    wait_for_kernel(page)
    run_all(page)
    wait_for_points(page, len(LOGGED_STEPS))
    page.wait_for_selector(".wb-sample")
    assert plotted(page) == LOGGED_STEPS
    assert len(lab.wb.jobs.list(kind="evaluate")) == 1


def test_a_refused_value_stands_beside_its_field(page: Page, lab: Lab, base: Path) -> None:
    open_notebook(page, lab)
    run_all(page)
    page.wait_for_selector(".wb-form button[type=submit]:enabled")
    fill_in(page, base=str(base / "nowhere"), learning_rate="abc")
    page.click(".wb-form button[type=submit]")
    page.wait_for_selector("[name=learning_rate][aria-invalid=true]")
    described = page.get_attribute("[name=learning_rate]", "aria-describedby") or ""
    assert "number" in page.inner_text(f"#{described.split()[1]}")
    fill_in(page, learning_rate="1e-3")
    page.click(".wb-form button[type=submit]")
    page.wait_for_selector("[name=learning_rate][aria-invalid=false]")
    page.wait_for_function("document.querySelector('.wb-form').innerText.includes('nowhere')")
    assert len(lab.wb.runs.list()) == 1
