"""The data panel: drop a file, read what it was taken for, look at its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import ipywidgets

from workbench.core.errors import Invalid, WorkbenchError
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.choice import Choice
from workbench.core.widgets.drop_zone import DropZone
from workbench.core.widgets.form import Form, Values
from workbench.core.widgets.grid import Grid
from workbench.core.widgets.heading import Heading
from workbench.datasets.client import Dataset, Datasets
from workbench.datasets.schemas import ROLES, Format

ACCEPTED = ".jsonl,.ndjson,.json,.csv,.tsv,.xlsx,.parquet"
SIDES = ("all", "train", "test")
UNSURE = "dataset.mapping_refused"
TAKEN = "dataset.name_taken"


class DatasetPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Takes files and shows datasets; `on_choice(dataset)` hears which one is shown."""

    def __init__(
        self,
        datasets: Datasets,
        *,
        on_choice: Callable[[Dataset], None] | None = None,
        language: Language | None = None,
    ) -> None:
        self.language = language or preferred_language()
        self._datasets = datasets
        self._on_choice = on_choice
        self._file: Path | None = None
        self._given: dict[str, str] = {}
        self._refusal: WorkbenchError | None = None
        self._known: dict[str, Dataset] = {}
        self.dataset: Dataset | None = None
        self.heading = Heading(self.language, title=self._text("data.title"), note=self._text("data.empty"))
        self.zone = DropZone(self._take, accept=ACCEPTED, language=self.language)
        self.question = Form([], self._answer, action=self._text("data.save"), language=self.language)
        self.question.observe(self._another_format, "values")
        sides = [(side, self._text(f"data.side_{side}")) for side in SIDES]
        self.choice = Choice(self._text("data.choose"), [], self._chosen, language=self.language)
        self.side = Choice(self._text("data.side"), sides, self._show_rows, language=self.language)
        self.grid = Grid(self._columns(), language=self.language)
        self._bar = ipywidgets.Box([self.choice, self.side])
        self._bar.add_class("wb-bar")
        super().__init__([self.heading, self.zone])
        self.add_class("wb-panel")
        self.refresh()

    def refresh(self) -> None:
        """Ask the server which datasets there are; the newest is shown unless one was chosen."""
        self._known = {dataset.id: dataset for dataset in self._datasets.list()}
        newest = next(iter(self._known.values()), None)
        if self.dataset is None and newest is not None:
            self.show(newest)

    def show(self, dataset: Dataset) -> None:
        """Show a dataset: the sentence that says what was read, the counts, the rows."""
        self.dataset = dataset
        self._known = {dataset.id: dataset} | {key: known for key, known in self._known.items() if key != dataset.id}
        self.choice.offer([(key, known.name) for key, known in self._known.items()], dataset.id)
        self.heading.note = f"{dataset.reading} {self._counts(dataset)}"
        self._show_rows(self.side.value)
        self.children = [self.heading, self.zone, self._bar, self.grid]
        if self._on_choice is not None:
            self._on_choice(dataset)

    def _chosen(self, dataset_id: str) -> None:
        if self.dataset is None or self.dataset.id != dataset_id:
            self.show(self._known[dataset_id])

    def _take(self, path: Path, filename: str) -> None:
        self._file, self._given = path, {}
        self._save()

    def _answer(self, values: Values) -> None:
        if self._file is None or not self._file.exists():
            raise Invalid(self._text("data.gone"))
        answered = {key: value.strip() for key, value in values.items()}
        self._given = {key: value for key, value in (self._given | answered).items() if value}
        self._save()

    def _save(self) -> None:
        """Upload the file as far as is known how; ask for what the server could not tell."""
        assert self._file is not None
        try:
            dataset = self._upload(self._file, **self._given)
        except WorkbenchError as error:
            if error.problem().code not in (UNSURE, TAKEN):
                raise
            self._ask(error, self._file.name)
        else:
            self._file = None
            self.zone.discard()
            self.show(dataset)

    def _upload(self, path: Path, save_as: str = "new", name: str = "", **columns: Any) -> Dataset:
        if save_as == "version":
            return self._datasets[_name(path.name)].upload_version(path, **columns)
        return self._datasets.upload(path, name=name or None, **columns)

    def _ask(self, error: WorkbenchError, filename: str) -> None:
        """Show the refusal, with the fields that can put it right."""
        unsure = error.problem().code == UNSURE
        self._refusal = error if unsure else None
        self.question.fields = self._column_fields(error) if unsure else self._name_fields(filename)
        kind = self._given.get("format", next(iter(ROLES)))
        self.question.values = {"format": kind} if unsure else {"save_as": "version", "name": f"{_name(filename)}-2"}
        self.question.errors, self.question.notice = {}, self.question.explained(error)
        shown = [child for child in self.children if child is not self.question]
        self.children = [*shown[:2], self.question, *shown[2:]]

    def _column_fields(self, error: WorkbenchError) -> list[dict[str, Any]]:
        """Ask for the format, and for a column in each of its roles; the roles of other formats are left alone."""
        columns = [problem.message for problem in error.problem().errors if problem.pointer == "/columns"]
        optional = [("", "—"), *((column, column) for column in columns)]
        formats = [(kind, self._text(f"data.format_{kind}")) for kind in ROLES]
        kind = self._given.get("format", next(iter(ROLES)))
        needed, more = ROLES[cast(Format, kind)]
        return [
            {"name": "format", "label": self._text("data.format"), "kind": "choice", "options": formats, "wide": True},
            *(
                {"name": role, "label": self._text(f"data.column_{role}"), "kind": "choice", "options": optional}
                for role in (*needed, *more)
            ),
        ]

    def _another_format(self, change: dict[str, Any]) -> None:
        """Ask for other columns when another format was chosen in the form."""
        kind = change["new"].get("format")
        if kind and self._refusal is not None and kind != self._given.get("format", next(iter(ROLES))):
            self._given = {"format": kind}
            self.question.fields = self._column_fields(self._refusal)

    def _name_fields(self, filename: str) -> list[dict[str, Any]]:
        version = self._text("data.save_version", name=_name(filename))
        options = [("version", version), ("new", self._text("data.save_new"))]
        return [
            {"name": "save_as", "label": self._text("data.save_as"), "kind": "choice", "options": options},
            {"name": "name", "label": self._text("data.new_name"), "kind": "text"},
        ]

    def _show_rows(self, side: str) -> None:
        if self.dataset is None:
            return
        split = self.dataset[side]

        def fetch(offset: int, limit: int) -> list[dict[str, Any]]:
            rows = [row.model_dump(exclude={"messages"}) for row in split.page(offset, limit).items]
            return [row | {"split": self._text(f"data.{row['split']}")} for row in rows]

        self.grid.columns = self._columns(split.version.mapping.format)
        self.grid.show(split.rows, fetch)

    def _counts(self, dataset: Dataset) -> str:
        head = dataset.version
        counts = {"rows": head.rows, "train": head.train_rows, "test": head.test_rows}
        formatted = {key: f"{count:,}" for key, count in counts.items()}
        return self._text("data.counts", name=dataset.name, number=head.number, **formatted)

    def _columns(self, kind: str = "prompt_completion") -> list[dict[str, str]]:
        widths = {"row_id": "80px", "split": "80px", "prompt": "3fr", "completion": "2fr"}
        labels = {"row_id": "data.row"}
        if kind == "text":
            del widths["prompt"]
            labels["completion"] = "data.text"
        elif kind == "preference":
            widths["rejected"] = "2fr"
            labels["completion"] = "data.chosen"
        return [
            {"key": key, "label": self._text(labels.get(key, f"data.{key}")), "width": width}
            for key, width in widths.items()
        ]

    def _text(self, key: str, **values: object) -> str:
        return text(key, self.language, **values)


def _name(filename: str) -> str:
    """The name that the server gives a dataset by its file."""
    return re.sub(r"[^\w .\-]+", "-", Path(filename).stem).strip(" .-")[:128]
