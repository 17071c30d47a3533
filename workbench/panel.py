"""Every panel by its name, and the main job on one page: data, training, the live run, the comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from pydantic import ValidationError

from workbench.accounts.panel import PagePanel
from workbench.chat.panel import ChatPanel
from workbench.core.errors import NotFound, WorkbenchError, invalid_input
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.grid import Grid
from workbench.core.widgets.heading import Heading
from workbench.datasets.client import Split
from workbench.datasets.panel import DatasetPanel
from workbench.evaluation.client import Evaluation
from workbench.evaluation.panel import ComparisonPanel, ComparisonsPanel
from workbench.jobs.panel import QueuePanel
from workbench.jobs.schemas import Job
from workbench.registry.client import ModelVersion
from workbench.registry.panel import ModelsPanel, ShowRows
from workbench.training import routes as training_routes
from workbench.training.client import Run
from workbench.training.overview import RunsPanel
from workbench.training.panel import RunPanel, TrainPanel
from workbench.training.schemas import Preview, PreviewQuery

if TYPE_CHECKING:
    from workbench.session import Workbench

SUGGESTED_MODELS = 50


class UnknownPanel(NotFound):
    """There is no such panel."""

    code = "panel.not_found"


def panel(wb: Workbench, name: str) -> ipywidgets.DOMWidget:
    """Make a panel by its name; who may not write gets it without buttons. Raises `UnknownPanel`."""
    panels: dict[str, Callable[[], ipywidgets.DOMWidget]] = {
        "main": lambda: MainPanel(wb),
        "data": lambda: DatasetPanel(wb.datasets),
        "train": lambda: _train(wb),
        "runs": lambda: RunsPanel(wb.runs.list, wb.runs.__getitem__, can_write=wb.may("jobs:write")),
        "queue": lambda: QueuePanel(wb.jobs, can_write=wb.may("jobs:write")),
        "comparisons": lambda: ComparisonsPanel(wb.http, can_write=wb.may("jobs:write")),
        "models": lambda: ModelsPanel(wb.models, rows=_trained_rows(wb), can_write=wb.may("models:write")),
        "chat": lambda: _chat(wb),
        "account": lambda: PagePanel(wb.http, "account"),
        "admin": lambda: PagePanel(wb.http, "admin"),
    }
    if name not in panels:
        raise UnknownPanel(f"There is no panel “{name}”; choose one of {', '.join(panels)}.")
    return panels[name]()


class MainPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Everything from the file to the comparison.

    What it shows lives on the server: a new panel picks up the newest dataset and the newest run.
    """

    def __init__(self, wb: Workbench, *, language: Language | None = None) -> None:
        self.language = language or preferred_language()
        self._wb = wb
        self.run: RunPanel | None = None
        self.training = TrainPanel(
            wb.train, preview=_preview(wb), bases=_bases(wb), on_start=self._started, language=self.language
        )
        self.watching = ipywidgets.VBox()
        self.comparison = ComparisonPanel(language=self.language)
        self.data = DatasetPanel(wb.datasets, on_choice=self.training.offer, language=self.language)
        self.watching.add_class("wb-panel")
        self._watch_heading = Heading(self.language, title=self._text("watch.title"), note=self._text("watch.empty"))
        self.watching.children = [self._watch_heading]
        steps = [self.data, self.training, self.watching, self.comparison]
        for step in steps:
            step.add_class("wb-step")
        super().__init__(steps)
        self.add_class("wb-main-panel")
        self._pick_up()

    def _pick_up(self) -> None:
        runs = self._wb.runs.list()
        if runs:
            self._watch(self._wb.runs[runs[0].id])

    def _started(self, run: Run) -> None:
        self.comparison.note(self._text("eval.empty"))
        self._watch(run)

    def _watch(self, run: Run) -> None:
        if self.run is not None:
            self.run.close()
        self._watch_heading.note = ""
        self.run = RunPanel(run, on_end=self._ended, language=self.language)
        self.watching.children = [self._watch_heading, self.run]

    def _ended(self, job: Job) -> None:
        if job.outcome is None:
            return
        if "evaluation_job_id" not in job.outcome:
            self.comparison.note(self._text("eval.not_compared"))
            return
        try:
            self.comparison.show(Evaluation(self._wb.http, str(job.outcome["evaluation_job_id"])))
        except WorkbenchError as error:
            self.comparison.note(self.comparison.heading.explained(error))

    def _text(self, key: str) -> str:
        return text(key, self.language)


def _train(wb: Workbench) -> ipywidgets.DOMWidget:
    """Return the training form over all datasets, which shows below it the run that it starts."""
    box = ipywidgets.VBox()

    def started(run: Run) -> None:
        watched = box.children[1:]
        box.children = [form, RunPanel(run)]
        for panel in watched:
            panel.close()

    form = TrainPanel(wb.train, preview=_preview(wb), bases=_bases(wb), on_start=started)
    for dataset in reversed(wb.datasets.list()):
        form.offer(dataset)
    box.children = [form]
    box.add_class("wb-panel")
    return box


def _chat(wb: Workbench) -> ChatPanel:
    """Return the chat, which can deploy every registered version, the newest first."""

    def versions() -> Sequence[tuple[str, str]]:
        known = [version for model in wb.models.list()[:SUGGESTED_MODELS] for version in model.versions]
        known.sort(key=lambda version: version.created_at, reverse=True)
        return [(version.id, f"{version.model_name}@{version.number}") for version in known]

    def deploy(version_id: str) -> object:
        return wb.deploy(wb.models.version(version_id))

    return ChatPanel(wb.http, versions=versions, deploy=deploy, can_deploy=wb.may("deployments:write"))


def _trained_rows(wb: Workbench) -> ShowRows:
    """Return the function that shows below a model version the rows which trained it."""
    heading = Heading()
    widths = {"row_id": "80px", "prompt": "3fr", "completion": "2fr"}
    labels = {"row_id": text("data.row"), "prompt": text("data.prompt"), "completion": text("data.completion")}
    grid = Grid([{"key": key, "label": labels[key], "width": width} for key, width in widths.items()])

    def show(version: ModelVersion) -> Sequence[ipywidgets.DOMWidget]:
        if version.record.job_id is None:
            return []
        rows = wb.rows_of(version)

        def fetch(offset: int, limit: int) -> list[dict[str, Any]]:
            return [row.model_dump(include={*widths}) for row in rows.page(offset, limit).items]

        total = len(rows)
        heading.title = text("models.rows", rows=f"{total:,}")
        grid.show(total, fetch)
        return [heading, grid]

    return show


def _preview(wb: Workbench) -> Callable[..., Preview]:
    """Return the function that shows one row as a base model would see it."""

    def preview(*, base: str, data: Split, offset: int, max_length: Any) -> Preview:
        given = {"base": base, "offset": offset, "limit": 1, "max_length": max_length, **data.ref.model_dump()}
        try:
            query = PreviewQuery.model_validate(given)
        except ValidationError as error:
            raise invalid_input(error, "the preview") from error
        return wb.http.call(training_routes.preview, query=query)

    return preview


def _bases(wb: Workbench) -> Sequence[tuple[str, str]]:
    """Return what can be trained, bases first, as pairs of what to ask for and what to show."""
    versions = [version for model in wb.models.list()[:SUGGESTED_MODELS] for version in model.versions]
    versions.sort(key=lambda version: version.kind != "base")
    return [
        (version.path if version.kind == "base" else version.id, f"{version.model_name} v{version.number}")
        for version in versions
    ]
