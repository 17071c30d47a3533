"""The Python side of the widgets; their browser side is driven by tests/acceptance/test_browser.py."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest

from workbench.core.errors import FieldProblem, Invalid, WorkbenchError
from workbench.core.widgets import (
    chart,
    chart_bar,
    choice,
    download,
    drop_zone,
    fact_sheet,
    form,
    grid,
    heading,
    lineage_view,
    listing,
    log_view,
    progress,
    side_by_side,
)
from workbench.core.widgets.chart import LiveChart
from workbench.core.widgets.choice import Choice
from workbench.core.widgets.drop_zone import DropZone
from workbench.core.widgets.element import FOLDER, Element
from workbench.core.widgets.form import Form
from workbench.core.widgets.grid import Grid
from workbench.core.widgets.log_view import KEPT_CHARACTERS, LogView
from workbench.core.widgets.progress import Progress
from workbench.core.widgets.series import DRAWN_POINTS, Series, thin

MODULES = (
    *(chart, chart_bar, choice, download, drop_zone, fact_sheet, form, grid, heading, lineage_view, listing, log_view),
    *(progress, side_by_side),
)
WIDGETS = {
    value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, ipywidgets.Widget) and value.__module__ == module.__name__
}
OVERRIDDEN = {"_config", "_widget_data", "_widget_layout", "_esm", "_css", "children", "close"}
SOURCES = sorted([*FOLDER.glob("*.js"), *FOLDER.glob("*.css")])
SVG_NAMESPACE = "http://www.w3.org/2000/svg"  # a name, not a place


def receive(widget: Element, kind: str, buffers: tuple[bytes, ...] = (), **content: Any) -> None:
    """Let a widget get a message as if a browser had sent it."""
    widget._handle_custom_msg({"type": kind, **content}, [memoryview(buffer) for buffer in buffers])


def sent(widget: Element, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what a widget sends to the browser from now on."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(widget, "send", messages.append)
    return messages


def hidden_names(widget: type) -> set[str]:
    """Return the names that our code gives a widget although its base classes use them."""
    foreign = [base for base in widget.__mro__ if not base.__module__.startswith("workbench.")]
    ours = [base for base in widget.__mro__ if base.__module__.startswith("workbench.")]
    source = "\n".join(Path(__import__("inspect").getfile(base)).read_text("utf8") for base in ours)
    names = set(re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", source)) | set(re.findall(r"    def (\w+)\(", source))
    taken = {name for base in foreign for name in vars(base)}
    return {name for name in names & taken if not name.startswith("__")} - OVERRIDDEN


@pytest.mark.parametrize("widget", sorted(WIDGETS, key=lambda widget: widget.__name__))
def test_no_widget_hides_a_name_of_its_framework(widget: type) -> None:
    assert hidden_names(widget) == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_browser_code_loads_nothing_and_writes_no_markup(path: Path) -> None:
    source = path.read_text("utf8").replace(SVG_NAMESPACE, "")
    assert not re.search(r"https?:|innerHTML|insertAdjacentHTML|\bimport\b|@import|url\(", source)


@pytest.mark.parametrize(
    "name",
    [
        "chat_view",
        "choice",
        "download",
        "drop_zone",
        "form",
        "grid",
        "heading",
        "log_view",
        "progress",
        "queue_list",
        "side_by_side",
    ],
)
def test_each_widget_has_its_module_and_style(name: str) -> None:
    assert "export default" in (FOLDER / f"{name}.js").read_text("utf8")
    assert (FOLDER / f"{name}.css").exists()


def test_words_come_in_the_language_that_was_asked_for() -> None:
    assert Progress(language="zh-CN").words["cancel"] == "取消"
    assert Progress(language="en").words["cancel"] == "Cancel"


def test_a_message_without_a_handler_is_passed_over() -> None:
    receive(Progress(), "no_such_message")


class TestSeries:
    def test_each_step_counts_once(self) -> None:
        series = Series()
        for step, loss in ((1, 3.0), (2, 2.0), (2, 1.5), (3, 1.0)):
            series.add(step, {"loss": loss})
        steps, values = series.arrays("loss")
        assert steps.tolist() == [1, 2, 3]
        assert values.tolist() == [3.0, 1.5, 1.0]

    def test_rewind_forgets_what_came_after(self) -> None:
        series = Series()
        for step in range(1, 6):
            series.add(step, {"loss": float(step), "learning_rate": 0.1})
        series.rewind(3)
        series.add(4, {"loss": 0.5})
        assert series.arrays("loss")[0].tolist() == [1, 2, 3, 4]
        assert series.arrays("learning_rate")[0].tolist() == [1, 2, 3]
        assert series.last("loss") == 0.5

    def test_a_metric_whose_points_all_went_away_is_gone(self) -> None:
        series = Series()
        series.add(5, {"loss": 1.0})
        series.rewind(0)
        assert series.names == []
        assert series.last("loss") is None

    def test_points_are_in_the_order_of_steps(self) -> None:
        series = Series()
        for step in (3, 1, 2):
            series.add(step, {"loss": float(step)})
        assert series.arrays("loss")[1].tolist() == [1.0, 2.0, 3.0]

    def test_an_unknown_metric_has_no_points(self) -> None:
        assert [len(array) for array in Series().arrays("loss")] == [0, 0]


class TestThin:
    def test_few_points_stay_as_they_are(self) -> None:
        steps = np.arange(DRAWN_POINTS, dtype=float)
        assert thin(steps, steps)[0] is steps

    def test_extremes_and_ends_stay(self) -> None:
        steps = np.arange(100_000, dtype=float)
        values = np.sin(steps / 500)
        values[54_321], values[65_432] = 99.0, -99.0
        kept, shown = thin(steps, values)
        assert len(kept) <= DRAWN_POINTS
        assert (kept[0], kept[-1]) == (0, 99_999)
        assert {54_321.0, 65_432.0} <= set(kept.tolist())
        assert (shown.max(), shown.min()) == (99.0, -99.0)
        assert (np.diff(kept) > 0).all()

    @pytest.mark.parametrize("count", [2001, 2002, 2999, 4001])
    def test_just_too_many_points(self, count: int) -> None:
        steps = np.arange(count, dtype=float)
        assert len(thin(steps, steps)[0]) <= DRAWN_POINTS


class TestLiveChart:
    def test_a_page_that_is_loaded_later_gets_the_points(self) -> None:
        live = LiveChart("step")
        live.draw("Loss", np.array([1.0, 2.0]), np.array([3.0, 2.5]))
        live.draw("Loss", np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.5, 2.0]))
        state = live.get_state()
        trace = state["_widget_data"][0]
        assert np.asarray(trace["x"]["buffer"]).tolist() == [1.0, 2.0, 3.0]
        assert np.asarray(trace["y"]["buffer"]).tolist() == [3.0, 2.5, 2.0]
        assert state["_widget_layout"]["yaxis"]["title"]["text"] == "Loss"

    def test_many_points_are_thinned(self) -> None:
        live = LiveChart("step")
        steps = np.arange(50_000, dtype=float)
        live.draw("Loss", steps, steps)
        assert len(live.data[0].x) <= DRAWN_POINTS

    def test_it_can_send_everything_again(self) -> None:
        live = LiveChart("step")
        live.push()
        live.draw("Loss", np.array([1.0]), np.array([3.0]))
        messages: list[Any] = []
        live.observe(lambda change: messages.append(change["new"]), "_py2js_restyle")
        live.push()
        assert [np.asarray(axis[0]).tolist() for axis in messages[0]["restyle_data"].values()] == [[1.0], [3.0]]

    def test_it_has_no_logo(self) -> None:
        assert LiveChart("step")._config["displaylogo"] is False


class TestDropZone:
    @pytest.fixture
    def taken(self) -> list[tuple[str, bytes]]:
        return []

    @pytest.fixture
    def zone(self, taken: list[tuple[str, bytes]]) -> DropZone:
        return DropZone(lambda path, filename: taken.append((filename, path.read_bytes())))

    def drop(self, zone: DropZone, name: str, content: bytes, piece: int = 4) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename=name, size=len(content))
        for offset in range(0, len(content), piece):
            receive(zone, "chunk", (content[offset : offset + piece],), transfer="t1", offset=offset)
        for thread in threading.enumerate():
            if thread.name == "workbench-upload":
                thread.join()

    def test_a_file_arrives_whole(self, zone: DropZone, taken: list[tuple[str, bytes]]) -> None:
        self.drop(zone, "rows.jsonl", b'{"prompt": "a"}\n')
        assert taken == [("rows.jsonl", b'{"prompt": "a"}\n')]
        assert (zone.state, zone.received) == ("idle", 16)

    def test_an_empty_file_is_handed_on_too(self, zone: DropZone, taken: list[tuple[str, bytes]]) -> None:
        self.drop(zone, "empty.csv", b"")
        assert taken == [("empty.csv", b"")]

    def test_each_piece_is_acknowledged(self, zone: DropZone, monkeypatch: pytest.MonkeyPatch) -> None:
        messages = sent(zone, monkeypatch)
        self.drop(zone, "a.csv", b"123456789")
        assert [message["offset"] for message in messages] == [0, 4, 8, 9]

    def test_a_piece_that_comes_twice_counts_once(self, zone: DropZone, taken: list[tuple[str, bytes]]) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename="a.csv", size=6)
        receive(zone, "chunk", (b"abc",), transfer="t1", offset=0)
        receive(zone, "chunk", (b"abc",), transfer="t1", offset=0)
        receive(zone, "chunk", (b"xyz",), transfer="another", offset=3)
        assert zone.received == 3

    def test_a_refusal_is_shown(self) -> None:
        def refuse(path: Path, filename: str) -> None:
            raise Invalid(f"{filename} is empty.")

        zone = DropZone(refuse)
        self.drop(zone, "a.csv", b"")
        assert (zone.state, zone.message) == ("failed", "a.csv is empty.")

    def test_a_fault_of_the_panel_is_shown_too(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(path: Path, filename: str) -> None:
            raise ZeroDivisionError("oops")

        zone = DropZone(fail, language="en")
        self.drop(zone, "a.csv", b"1")
        assert zone.message == "The upload failed inside the panel: ZeroDivisionError: oops"
        assert "a.csv" in caplog.text

    def test_cancelling_keeps_nothing(self, zone: DropZone, taken: list[tuple[str, bytes]]) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename="a.csv", size=6)
        assert zone._transfer is not None
        folder = zone._transfer.path.parent
        receive(zone, "cancel")
        receive(zone, "chunk", (b"abc",), transfer="t1", offset=0)
        assert zone.state == "idle"
        assert not folder.exists()
        assert taken == []

    @pytest.mark.parametrize("reason", ["interrupted", "unreadable"])
    def test_a_transfer_that_breaks_off_says_so(self, zone: DropZone, reason: str) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename="a.csv", size=6)
        receive(zone, reason)
        assert zone.state == "failed"
        assert "a.csv" in zone.message

    def test_nothing_new_starts_while_a_file_is_on_its_way(self, zone: DropZone) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename="a.csv", size=6)
        receive(zone, "start", transfer="t2", sender="tab", filename="b.csv", size=6)
        assert zone.filename == "a.csv"

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("..", "file"),
            ("", "file"),
            ("a\0b.csv", "ab.csv"),
            ("数据.csv", "数据.csv"),
            ("数" * 200 + ".csv", "数" * 60 + ".csv"),
        ],
    )
    def test_a_name_never_leaves_its_folder(self, zone: DropZone, given: str, kept: str) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename=given, size=6)
        assert zone._transfer is not None
        assert zone._transfer.path == Path(zone._transfer.folder.name) / kept

    def test_a_full_disk_is_said(self, zone: DropZone, monkeypatch: pytest.MonkeyPatch) -> None:
        receive(zone, "start", transfer="t1", sender="tab", filename="a.csv", size=6)
        assert zone._transfer is not None
        zone._transfer.folder.cleanup()
        receive(zone, "chunk", (b"abc",), transfer="t1", offset=0)
        assert zone.state == "failed"
        assert "No such file" in zone.message


class TestGrid:
    COLUMNS = ({"key": "prompt", "label": "Prompt", "width": "1fr"},)

    def rows(self, offset: int, limit: int) -> list[dict[str, Any]]:
        return [{"prompt": f"row {index}"} for index in range(offset, offset + limit)]

    def test_the_browser_gets_the_rows_it_asks_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Grid(self.COLUMNS)
        table.show(1_000_000, self.rows)
        messages = sent(table, monkeypatch)
        receive(table, "rows", offset=500_000, limit=3, edition=table.edition)
        assert [row["prompt"] for row in messages[0]["rows"]] == ["row 500000", "row 500001", "row 500002"]

    def test_a_request_for_what_was_shown_before_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Grid(self.COLUMNS)
        table.show(10, self.rows)
        old = table.edition
        table.show(20, self.rows)
        messages = sent(table, monkeypatch)
        receive(table, "rows", offset=0, limit=3, edition=old)
        assert messages == []

    def test_a_request_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Grid(self.COLUMNS)
        table.show(1_000_000, self.rows)
        messages = sent(table, monkeypatch)
        receive(table, "rows", offset=-5, limit=10**9, edition=table.edition)
        assert (messages[0]["offset"], len(messages[0]["rows"])) == (0, 200)

    def test_a_refusal_is_shown(self) -> None:
        def refuse(offset: int, limit: int) -> list[dict[str, Any]]:
            raise WorkbenchError("The dataset is gone.")

        table = Grid(self.COLUMNS)
        table.show(10, refuse)
        receive(table, "rows", offset=0, limit=3, edition=table.edition)
        assert table.trouble == "The dataset is gone."
        table.show(10, self.rows)
        assert table.trouble == ""


class TestLogView:
    def test_pieces_follow_each_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        view = LogView()
        messages = sent(view, monkeypatch)
        for piece in ("one\n", "", "two 🙂\n", "three\n"):
            view.append(piece)
        assert [(message["start"], message["end"]) for message in messages] == [(0, 4), (4, 10), (10, 16)]

    def test_a_page_that_is_loaded_later_gets_all_that_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        view = LogView()
        view.append("one\n")
        view.append("two\n")
        messages = sent(view, monkeypatch)
        receive(view, "ready")
        assert messages == [{"type": "text", "start": 0, "end": 8, "text": "one\ntwo\n", "reset": True}]

    def test_it_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        view = LogView()
        for _ in range(5):
            view.append("x" * 100_000)
        messages = sent(view, monkeypatch)
        receive(view, "ready")
        assert len(view.text) == KEPT_CHARACTERS
        assert (messages[0]["start"], messages[0]["end"]) == (300_000, 500_000)

    def test_another_log_begins_empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        view = LogView()
        view.append("old\n")
        messages = sent(view, monkeypatch)
        view.clear()
        view.append("new\n")
        assert [message["text"] for message in messages] == ["", "new\n"]


class TestForm:
    FIELDS = ({"name": "base", "label": "Base", "kind": "text"}, {"name": "seed", "label": "Seed", "kind": "number"})

    def make(self, submit: Callable[[dict[str, str]], None]) -> Form:
        return Form(self.FIELDS, submit, action="Start")

    def test_values_come_as_they_were_typed(self) -> None:
        got: list[dict[str, str]] = []
        receive(self.make(got.append), "submit", values={"base": "m", "seed": "abc"})
        assert got == [{"base": "m", "seed": "abc"}]

    def test_a_refusal_stands_beside_its_field(self) -> None:
        def refuse(values: dict[str, str]) -> None:
            raise Invalid("seed: no.", problems=[FieldProblem(pointer="/training/seed", message="must be a number")])

        questions = self.make(refuse)
        receive(questions, "submit", values={"base": "m", "seed": "abc"})
        assert questions.errors == {"seed": "must be a number"}
        assert questions.notice == ""
        assert not questions.busy

    def test_a_refusal_of_no_field_stands_below(self) -> None:
        def refuse(values: dict[str, str]) -> None:
            raise Invalid("There is no room.")

        questions = self.make(refuse)
        receive(questions, "submit", values={"base": "m", "seed": "1"})
        assert (questions.errors, questions.notice) == ({}, "There is no room.")

    def test_the_next_attempt_forgets_old_refusals(self) -> None:
        answers: list[WorkbenchError | None] = [Invalid("No."), None]

        def submit(values: dict[str, str]) -> None:
            if (answer := answers.pop(0)) is not None:
                raise answer

        questions = self.make(submit)
        receive(questions, "submit", values={})
        receive(questions, "submit", values={})
        assert questions.notice == ""

    @pytest.mark.parametrize("state", ["busy", "locked"])
    def test_it_does_not_submit_twice_or_too_early(self, state: str) -> None:
        got: list[dict[str, str]] = []
        questions = self.make(got.append)
        questions.set_trait(state, True)
        receive(questions, "submit", values={"base": "m"})
        assert got == []


class TestProgress:
    def test_its_buttons_act(self) -> None:
        pressed: list[str] = []
        bar = Progress(cancel=lambda: pressed.append("cancel"), resume=lambda: pressed.append("resume"))
        receive(bar, "cancel")
        receive(bar, "resume")
        assert pressed == ["cancel", "resume"]

    def test_a_refusal_is_shown(self) -> None:
        def refuse() -> None:
            raise Invalid("The job has already ended.")

        bar = Progress(cancel=refuse)
        receive(bar, "cancel")
        assert bar.error == "The job has already ended."

    def test_without_an_action_a_button_does_nothing(self) -> None:
        receive(Progress(), "cancel")

    def test_it_tells_when_a_page_has_drawn_it(self) -> None:
        drawn: list[bool] = []
        bar = Progress()
        bar.when_ready(lambda: drawn.append(True))
        receive(bar, "ready")
        assert drawn == [True]


class TestChoice:
    def test_the_first_option_is_chosen_and_a_choice_is_heard(self) -> None:
        heard: list[str] = []
        widget = Choice("Show", [("all", "All rows"), ("train", "Training rows")], heard.append)
        assert widget.value == "all"
        widget.value = "train"
        assert heard == ["train"]

    def test_other_options_can_be_offered(self) -> None:
        widget = Choice("Dataset", [], lambda value: None)
        widget.offer([("a", "A"), ("b", "B")], "b")
        assert (widget.options, widget.value) == ([["a", "A"], ["b", "B"]], "b")
