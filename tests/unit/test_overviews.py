"""The panels of all runs and all models, over the real services."""

from __future__ import annotations

import json
import shutil
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess

import workbench.accounts.api
import workbench.datasets.api
import workbench.jobs.api
import workbench.registry.api
from workbench.accounts.people import owner
from workbench.accounts.roles import LIMITS
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.errors import WorkbenchError
from workbench.core.lineage import link
from workbench.core.schemas import Ref
from workbench.core.settings import Settings
from workbench.core.widgets.form import Form
from workbench.core.widgets.listing import Listing
from workbench.core.widgets.live_panel import LivePanel
from workbench.jobs import service as jobs
from workbench.jobs.panel import QueuePanel
from workbench.jobs.states import move
from workbench.panel import UnknownPanel
from workbench.registry import service as registry
from workbench.registry.panel import ModelsPanel, amount
from workbench.session import Workbench
from workbench.training.overview import RunsPanel

assert workbench.accounts.api
assert workbench.datasets.api
assert workbench.jobs.api
assert workbench.registry.api

#: The owner, among the dashboards.
REVIEWER = replace(owner(), permissions=LIMITS["viewer"])


class Silent(InProcess):
    """Streams nothing, so that a run's panel shows the stored state."""

    def stream(self, route: Any, **given: Any) -> Iterator[Any]:
        yield from ()


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANGUAGE", "en")


class NoRows:
    """What trained a model that no run has made; real rows are shown in tests/acceptance/test_first_job.py."""

    def __len__(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def _models_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workbench, "rows_of", lambda wb, model: NoRows())


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "workbench.db")
    database = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    yield database
    database.close()


@pytest.fixture
def wb(database: Database, tmp_path: Path) -> Iterator[Workbench]:
    wb = Workbench(Silent(database, Settings(home=tmp_path)))
    yield wb
    wb.close()


@pytest.fixture
def reader(database: Database, tmp_path: Path) -> Iterator[Workbench]:
    wb = Workbench(Silent(database, Settings(home=tmp_path), REVIEWER))
    yield wb
    wb.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a safetensors model."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "max_position_embeddings": 512}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1500], "data_offsets": [0, 6000]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(6000))
    return folder


def submit(database: Database, home: Path, title: str, state: str = "queued") -> str:
    with database.write() as session:
        job = jobs.submit(Context(session, owner(), Settings(home=home)), "train", title, {})
        session.flush()
        if state == "cancelled":
            move(session, jobs.find(session, job.id), "cancelled")
    return job.id


def tune(database: Database, home: Path, folder: Path) -> tuple[str, str]:
    """Publish a model tuned from a folder; return the ids of base and model."""
    with database.write() as session:
        context = Context(session, owner(), Settings(home=home))
        base = registry.resolve(context, str(folder))
        job = jobs.submit(context, "train", "Tune", {})
        session.flush()
        record = {"training": {"seed": 7, "learning_rate": 1e-3}, "rows_used": 40}
        made = {"weights_sha256": "f" * 64, "record": record}
        given = {"author": ("owner", "Ada"), "path": "models/att_1", "parent_id": base.id, "job_id": job.id}
        tuned = registry.publish(session, name="support", result=made, **given)
        link(session, Ref(kind="model_version", id=base.id), Ref(kind="model_version", id=tuned.id), "base")
    return base.id, tuned.id


def sheet(panel: ModelsPanel) -> dict[str, str]:
    return {name: value for name, value, _ in panel.facts.facts}


class TestRunsPanel:
    def test_the_newest_run_is_shown_and_another_can_be_chosen(
        self, wb: Workbench, database: Database, tmp_path: Path
    ) -> None:
        first = submit(database, tmp_path, "First", "cancelled")
        second = submit(database, tmp_path, "Second")
        panel = wb.panel("runs")
        assert isinstance(panel, RunsPanel)
        assert [(row["title"], row["state_word"]) for row in panel.listing.rows] == [
            ("Second", "queued"),
            ("First", "cancelled"),
        ]
        assert panel.run is not None
        assert panel.run.run.id == second
        panel.listing.value = first
        assert panel.run.run.id == first
        assert panel.run.progress.can_resume
        assert panel.children[-1] is panel.run
        panel.close()

    def test_a_reader_gets_no_buttons(self, reader: Workbench, database: Database, tmp_path: Path) -> None:
        submit(database, tmp_path, "First", "cancelled")
        panel = reader.panel("runs")
        panel.run._draw_progress()
        assert (panel.run.progress.can_resume, panel.run.progress.can_cancel) == (False, False)
        panel.close()

    def test_the_list_keeps_itself_up_to_date(
        self, wb: Workbench, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(LivePanel, "INTERVAL", 0.01)
        panel = wb.panel("runs")
        assert panel.listing.rows == []
        assert panel.listing.empty == "No run yet."
        shown = threading.Event()
        panel.listing.observe(lambda change: shown.set(), "rows")
        run_id = submit(database, tmp_path, "New")
        assert shown.wait(30)
        assert panel.listing.rows[0]["id"] == run_id
        panel.close()


class TestQueuePanel:
    def test_it_shows_the_line_and_a_move_changes_it(self, wb: Workbench, database: Database, tmp_path: Path) -> None:
        first, second = submit(database, tmp_path, "First"), submit(database, tmp_path, "Second")
        panel = wb.panel("queue")
        assert isinstance(panel, QueuePanel)
        entries = panel.queue.entries
        assert [(entry["title"], entry["place"], entry["state_word"]) for entry in entries] == [
            ("First", "1", "queued"),
            ("Second", "2", "queued"),
        ]
        assert entries[0]["detail"] == f"Training · {owner().name} · 1 CPU"
        assert "run `workbench agent`" in entries[0]["reason"]
        panel.queue.on_move({"id": second, "before": first}, [])
        assert [entry["title"] for entry in panel.queue.entries] == ["Second", "First"]
        panel.queue.on_cancel({"id": second}, [])
        assert [entry["title"] for entry in panel.queue.entries] == ["First"]
        panel.close()

    def test_a_refusal_is_told_and_what_is_there_is_shown(
        self, wb: Workbench, database: Database, tmp_path: Path
    ) -> None:
        job_id = submit(database, tmp_path, "First")
        panel = wb.panel("queue")
        with database.write() as session:
            move(session, jobs.find(session, job_id), "cancelled")
        panel.queue.on_move({"id": job_id, "before": None}, [])
        assert "only a waiting job" in panel.queue.error
        assert panel.queue.entries == []
        other = submit(database, tmp_path, "Second")
        panel.queue.on_move({"id": other, "before": None}, [])
        assert panel.queue.error == ""
        panel.close()

    def test_a_reader_gets_no_buttons(self, reader: Workbench, database: Database, tmp_path: Path) -> None:
        submit(database, tmp_path, "First")
        panel = reader.panel("queue")
        assert [(entry["movable"], entry["cancellable"]) for entry in panel.queue.entries] == [(False, False)]
        panel.close()


class TestModelsPanel:
    def test_a_version_is_shown_with_what_it_is_and_came_from(
        self, wb: Workbench, database: Database, tmp_path: Path, folder: Path
    ) -> None:
        base, tuned = tune(database, tmp_path, folder)
        panel = wb.panel("models")
        assert isinstance(panel, ModelsPanel)
        assert [row["name"] for row in panel.listing.rows] == ["support v1", "tiny v1"]
        assert (panel.chosen.title, sheet(panel)["Seed"], sheet(panel)["Rows trained on"]) == ("support v1", "7", "40")
        assert [node["label"] for node in panel.lineage.nodes] == ["support v1", "tiny v1"]
        panel.lineage.value = f"model_version {base}"
        assert panel.listing.value == base
        assert (panel.chosen.title, sheet(panel)["Parameters"]) == ("tiny v1", "1,500")
        assert sheet(panel)["Context (tokens)"] == "512"
        assert tuned != base

    def test_notes_and_aliases_are_saved(self, wb: Workbench, database: Database, tmp_path: Path, folder: Path) -> None:
        _, tuned = tune(database, tmp_path, folder)
        panel = wb.panel("models")
        panel.editing.on_submit({"values": {"aliases": "champion，best, ", "notes": "The first good one"}}, [])
        assert panel.editing.notice == ""
        saved = wb.models.version(tuned).record
        assert (saved.aliases, saved.notes) == (["best", "champion"], "The first good one")
        assert panel.listing.rows[0]["aliases"] == "best, champion"
        assert wb.models["support@champion"].id == tuned

    def test_a_bad_alias_stands_beside_its_field(
        self, wb: Workbench, database: Database, tmp_path: Path, folder: Path
    ) -> None:
        _, tuned = tune(database, tmp_path, folder)
        panel = wb.panel("models")
        panel.editing.on_submit({"values": {"aliases": "3", "notes": "x"}}, [])
        assert "pattern" in panel.editing.errors["aliases"]
        assert wb.models.version(tuned).record.notes == ""

    def test_a_base_model_is_added(self, wb: Workbench, folder: Path) -> None:
        panel = wb.panel("models")
        assert panel.listing.empty.startswith("No model yet")
        panel.adding.on_submit({"values": {"base": str(folder)}}, [])
        assert panel.chosen.title == "tiny v1"
        panel.adding.on_submit({"values": {"base": str(folder / "nowhere")}}, [])
        assert "nowhere" in panel.adding.notice
        panel.adding.on_submit({"values": {"base": " "}}, [])
        assert panel.adding.notice == "Name a base model to add."

    def test_a_reader_gets_no_form(self, reader: Workbench, database: Database, tmp_path: Path, folder: Path) -> None:
        tune(database, tmp_path, folder)
        panel = reader.panel("models")
        assert not any(isinstance(child, Form) for child in panel.children)
        assert any(isinstance(child, Listing) for child in panel.children)
        with pytest.raises(WorkbenchError, match="models:write"):
            reader.models.add(str(folder))


def test_an_unknown_panel_is_refused_with_the_known_ones(wb: Workbench) -> None:
    with pytest.raises(UnknownPanel, match="no panel “run”; choose one of main, data, train, runs"):
        wb.panel("run")


def test_an_empty_registry_names_no_model(wb: Workbench) -> None:
    assert list(wb.models) == []
    with pytest.raises(KeyError, match="There is no model 'support'"):
        wb.models["support"]


@pytest.mark.parametrize(
    ("number", "words"), [(596_049_920, "596M"), (7_241_732_096, "7.24B"), (520, "520"), (671e9, "671B")]
)
def test_large_numbers_are_shortened(number: int, words: str) -> None:
    assert amount(number) == words
