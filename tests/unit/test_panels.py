"""The panels without a browser: the data panel over the real dataset service, the others over a scripted server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets
import numpy as np
import pytest
from in_process import InProcess

from workbench.core.database import Database
from workbench.core.errors import FieldProblem, Invalid, NotFound, RemoteError
from workbench.core.http import HTTP, ServerUnreachable
from workbench.core.routes import Download, Route
from workbench.core.schemas import Page
from workbench.core.settings import Settings
from workbench.core.texts import Language
from workbench.datasets import api
from workbench.datasets import routes as datasets_routes
from workbench.datasets.client import Dataset, Datasets
from workbench.datasets.panel import DatasetPanel
from workbench.datasets.schemas import ColumnMapping, Version
from workbench.datasets.schemas import Dataset as DatasetRecord
from workbench.evaluation import routes as evaluation_routes
from workbench.evaluation.client import Evaluation
from workbench.evaluation.panel import ComparisonPanel, ComparisonsPanel
from workbench.evaluation.schemas import (
    Answer,
    Comparison,
    MetricComparison,
    ModelScore,
    RowFilter,
    SampleRow,
    SamplesPage,
)
from workbench.evaluation.schemas import Evaluation as EvaluationRecord
from workbench.jobs import routes as jobs_routes
from workbench.jobs.schemas import Job, LogPage, Message, MetricMessage, ResumedMessage, StateMessage
from workbench.panel import MainPanel
from workbench.registry import routes as registry_routes
from workbench.session import Workbench
from workbench.training import panel as training_panel
from workbench.training.client import Run
from workbench.training.panel import RunPanel, TrainPanel

assert api

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 12, 1, 30, tzinfo=UTC)
FAR = 30.0  # seconds; only a broken test waits so long


@pytest.fixture(autouse=True)
def _english_and_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANGUAGE", "en")
    monkeypatch.setattr(training_panel, "QUIET_INTERVAL", 0.01)
    monkeypatch.setattr(training_panel, "REDRAW_INTERVAL", 0.01)


class ScriptedServer(HTTP):
    """Answers each route with what the test says, and records what was asked."""

    def __init__(self, answers: dict[int, Any], streams: Sequence[Sequence[Message | Exception]] = ()) -> None:
        super().__init__("http://scripted", "token")
        self.answers = answers
        self.streams = list(streams)
        self.asked: list[tuple[Route[Any], dict[str, Any]]] = []

    def call(self, route: Route[Any], **given: Any) -> Any:
        self.asked.append((route, given))
        answer = self.answers[id(route)]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(**given) if callable(answer) else answer

    def stream(self, route: Route[Any], **given: Any) -> Iterator[Any]:
        self.asked.append((route, given))
        for message in self.streams.pop(0):
            if isinstance(message, Exception):
                raise message
            yield message

    def asked_for(self, route: Route[Any]) -> list[dict[str, Any]]:
        return [given for asked, given in self.asked if asked is route]


def job(state: str = "running", **changes: Any) -> Job:
    values = {
        "id": "job_1",
        "kind": "train",
        "title": "Fine-tune tiny on support",
        "owner_name": "Ada",
        "state": state,
        "wait_reason": None,
        "cancel_requested": False,
        "attempt_no": 1,
        "cpus": 1,
        "gpus": 0,
        "outcome": None,
        "error_code": None,
        "error": None,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": LATER if state in ("succeeded", "failed", "cancelled") else None,
        "spec": {"base": {"version_id": "mv_base"}, "data": {"version_id": "dsv_1"}},
    }
    return Job.model_validate(values | changes)


def state(name: str, **changes: Any) -> StateMessage:
    return StateMessage(job=job(name, **changes))


def metric(step: int, seq: int | None = None, attempt_no: int = 1, **values: float) -> MetricMessage:
    at = 1_000.0 + step
    given = values or {"loss": 10.0 / step, "learning_rate": 1e-4, "tokens_per_second": 1234.0}
    return MetricMessage(seq=seq or step, step=step, total_steps=100, at=at, values=given, attempt_no=attempt_no)


def page(text: str, offset: int = 0, size: int | None = None, attempt_no: int = 1) -> LogPage:
    end = offset + len(text)
    return LogPage(
        attempt_no=attempt_no, offset=offset, next_offset=end, size_bytes=end if size is None else size, text=text
    )


def panel_over(
    *streams: Sequence[Message | Exception],
    jobs: Sequence[Any] = (job(),),
    logs: Sequence[Any] = (page(""),),
    on_end: Callable[[Job], None] | None = None,
) -> tuple[RunPanel, ScriptedServer]:
    answers = {
        id(jobs_routes.show): list(jobs),
        id(jobs_routes.log): list(logs),
        id(jobs_routes.cancel): job("running", cancel_requested=True),
        id(jobs_routes.resume): job("queued"),
    }
    server = ScriptedServer(answers, streams)
    return RunPanel(Run(server, "job_1"), on_end=on_end), server


def shown(panel: RunPanel) -> tuple[list[float], list[float]]:
    """The points that a page which is loaded now would draw."""
    trace = panel.chart.get_state()["_widget_data"][0]
    return tuple(np.asarray(trace[axis]["buffer"]).tolist() for axis in ("x", "y"))  # type: ignore[return-value]


class TestRunPanel:
    def test_closing_leaves_no_widget_open(self) -> None:
        def shown() -> set[str]:
            instances = ipywidgets.widgets.widget._instances
            return {key for key, widget in instances.items() if isinstance(widget, ipywidgets.DOMWidget)}

        before = shown()
        panel, _ = panel_over([state("succeeded")])
        panel.join(FAR)
        panel.close()
        assert shown() - before == set(), "an open box with a closed child keeps a page from loading any widget"

    def test_each_point_is_shown_once_though_the_server_went_away(self) -> None:
        first = [state("running"), *(metric(step) for step in (1, 2, 3)), ServerUnreachable()]
        second = [state("running"), *(metric(step) for step in (2, 3, 4, 5)), state("succeeded")]
        panel, server = panel_over(first, second)
        panel.join(FAR)
        assert shown(panel) == ([1, 2, 3, 4, 5], [10.0 / step for step in (1, 2, 3, 4, 5)])
        assert [given["query"].after for given in server.asked_for(jobs_routes.live)] == [0, 3]
        assert panel.progress.connection == ""
        assert panel.state == "succeeded"

    def test_a_resumed_run_takes_the_place_of_what_it_repeats(self) -> None:
        lost = [state("running"), *(metric(step) for step in (1, 3, 5, 7))]
        again = [ResumedMessage(attempt_no=2, step=3), *(metric(step, step, 2, loss=0.1) for step in (5, 6))]
        panel, _ = panel_over([*lost, *again, state("cancelled")])
        panel.join(FAR)
        assert shown(panel) == ([1, 3, 5, 6], [10.0, 10 / 3, 0.1, 0.1])

    def test_the_chart_shows_the_chosen_metric(self) -> None:
        panel, _ = panel_over([metric(1), metric(2), state("succeeded")])
        panel.join(FAR)
        assert [label for _, label in panel.metric.options] == ["Loss", "Learning rate", "Tokens per second"]
        panel.metric.value = "learning_rate"
        assert shown(panel) == ([1, 2], [1e-4, 1e-4])
        assert panel.chart.layout.yaxis.title.text == "Learning rate"

    def test_progress_tells_steps_times_and_speed(self) -> None:
        panel, _ = panel_over([state("running"), metric(10), metric(20), state("running")])
        panel.join(FAR)
        bar = panel.progress
        assert (bar.state, bar.step, bar.total, bar.remaining) == ("running", 20, 100, 80.0)
        assert bar.elapsed > 0
        assert [tuple(figure) for figure in bar.figures] == [("Tokens/s", "1,234"), ("Loss", "0.5000")]

    def test_a_queued_run_says_why_it_waits(self) -> None:
        waits = {"started_at": None, "wait_reason": "It needs 8 CPUs."}
        panel, _ = panel_over([state("queued", **waits)], jobs=[job("queued", **waits)])
        panel.join(FAR)
        assert panel.progress.reason == "It needs 8 CPUs."
        assert panel.progress.elapsed < 0
        assert panel.progress.can_cancel

    def test_a_failed_run_shows_its_sentence_and_can_be_resumed(self) -> None:
        failed = state("failed", error="The loss is nan at step 3.")
        panel, server = panel_over([failed], [state("running"), metric(1), state("succeeded")])
        panel.join(FAR)
        assert panel.progress.error == "The loss is nan at step 3."
        assert (panel.progress.can_resume, panel.progress.can_cancel) == (True, False)
        panel.progress.on_resume({}, [])
        panel.join(FAR)
        assert len(server.asked_for(jobs_routes.resume)) == 1
        assert (panel.state, panel.progress.error, shown(panel)[0]) == ("succeeded", "", [1])

    def test_cancel_is_asked_once(self) -> None:
        panel, server = panel_over([state("running")])
        panel.join(FAR)
        panel.progress.on_cancel({}, [])
        assert len(server.asked_for(jobs_routes.cancel)) == 1
        assert not panel.progress.can_cancel

    def test_a_refusal_by_the_server_is_shown(self) -> None:
        panel, _ = panel_over([NotFound("There is no job job_1.")])
        panel.join(FAR)
        assert panel.progress.connection == "There is no job job_1."

    def test_the_log_is_shown_whole(self) -> None:
        logs = [page("one\n", size=8), page("two\n", offset=4), page("", offset=8)]
        panel, _ = panel_over([state("succeeded")], logs=logs)
        panel.join(FAR)
        assert panel.output.text == "one\ntwo\n"

    def test_a_new_attempt_begins_a_new_log(self) -> None:
        panel, _ = panel_over(
            [state("failed")], [state("succeeded")], logs=[page("old\n"), page("new\n", attempt_no=2)]
        )
        panel.join(FAR)
        panel.progress.on_resume({}, [])
        panel.join(FAR)
        assert panel.output.text == "new\n"

    def test_a_log_that_cannot_be_read_is_said(self) -> None:
        panel, _ = panel_over([state("succeeded")], logs=[Invalid("The log is gone.")])
        panel.join(FAR)
        assert panel.progress.connection == "The log is gone."

    def test_the_end_is_told_once(self) -> None:
        ended: list[str] = []
        panel, _ = panel_over([state("running"), state("succeeded")], on_end=lambda job: ended.append(job.state))
        panel.join(FAR)
        assert ended == ["succeeded"]

    def test_a_closed_panel_listens_no_more(self) -> None:
        ended: list[str] = []
        gate = threading.Event()

        def messages() -> Iterator[Message]:
            yield state("running")
            gate.wait(FAR)
            yield state("succeeded")

        panel, _ = panel_over(messages(), on_end=lambda job: ended.append(job.state))  # type: ignore[arg-type]
        panel.close()
        gate.set()
        panel.join(FAR)
        assert ended == []

    def test_a_page_that_may_have_missed_something_gets_all_again(self) -> None:
        panel, _ = panel_over([metric(1), metric(2), state("succeeded")])
        panel.join(FAR)
        pushed: list[Any] = []
        panel.chart.observe(lambda change: pushed.append(change["new"]), "_py2js_restyle")
        panel.progress._handle_custom_msg({"type": "ready"}, [])
        assert np.asarray(pushed[0]["restyle_data"]["x"][0]).tolist() == [1, 2]


@pytest.fixture
def datasets(sqlite_template: Path, tmp_path: Path) -> Iterator[Datasets]:
    shutil.copy(sqlite_template, tmp_path / "workbench.db")
    database = Database(f"sqlite:///{tmp_path / 'workbench.db'}")
    http = InProcess(database, Settings(home=tmp_path))
    yield Datasets(http)
    http.close()
    database.close()


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    folder = tmp_path / "files"
    folder.mkdir()

    def write(name: str, content: str) -> Path:
        (folder / name).write_text(content, "utf8")
        return folder / name

    return write


CSV = "question,answer\n" + "".join(f"What is {n}?,{n}\n" for n in range(60))
UNSURE = "a,b,c\n" + "".join(f"one {n},two {n},three {n}\n" for n in range(20))


def drop(panel: DatasetPanel, path: Path) -> None:
    """Let a file arrive as the drop zone would hand it on."""
    content = path.read_bytes()
    zone = panel.zone
    zone._handle_custom_msg(
        {"type": "start", "transfer": "t", "sender": "s", "filename": path.name, "size": len(content)}, []
    )
    zone._handle_custom_msg({"type": "chunk", "transfer": "t", "offset": 0}, [memoryview(content)])
    for thread in threading.enumerate():
        if thread.name == "workbench-upload":
            thread.join(FAR)


def answer(panel: DatasetPanel, **values: str) -> None:
    panel.question._handle_custom_msg({"type": "submit", "values": values}, [])


class TestDatasetPanel:
    def test_it_begins_with_what_to_do(self, datasets: Datasets) -> None:
        panel = DatasetPanel(datasets)
        assert "prompts and completions, conversations" in panel.heading.note
        assert panel.grid not in panel.children

    def test_a_dropped_file_is_read_and_shown(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        chosen: list[Dataset] = []
        panel = DatasetPanel(datasets, on_choice=chosen.append)
        drop(panel, file("support.csv", CSV))
        assert panel.zone.message == ""
        assert 'took column "question" for the prompt and "answer" for the completion' in panel.heading.note
        assert "support, version 1: 60 rows" in panel.heading.note
        assert [dataset.name for dataset in chosen] == ["support"]
        assert panel.grid.total == 60
        assert panel.grid._fetch(58, 5)[1] == {
            "row_id": 59,
            "prompt": "What is 59?",
            "completion": "59",
            "rejected": None,
            "split": panel.grid._fetch(59, 1)[0]["split"],
        }

    def test_one_side_can_be_shown(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("support.csv", CSV))
        panel.side.value = "test"
        assert panel.dataset is not None
        assert 0 < panel.grid.total == panel.dataset["test"].rows
        assert {row["split"] for row in panel.grid._fetch(0, 60)} == {"test"}

    def test_a_refusal_is_the_servers_sentence(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("support.csv", ""))
        assert panel.zone.state == "failed"
        assert "support.csv" in panel.zone.message
        assert datasets.list() == []

    def test_unsure_columns_are_asked_for(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("abc.csv", UNSURE))
        assert panel.question in panel.children
        assert "Cannot tell which column" in panel.question.notice
        assert [field["name"] for field in panel.question.fields] == [
            *("format", "prompt", "completion", "input", "system"),
        ]
        answer(panel, prompt="b", completion="nothing")
        assert 'has no column "nothing"' in panel.question.notice
        answer(panel, prompt="b", completion="c")
        assert panel.dataset is not None
        assert panel.dataset.version.mapping == ColumnMapping(prompt="b", completion="c")
        assert panel.question not in panel.children

    def test_another_format_asks_for_other_columns(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("abc.csv", UNSURE))
        panel.question.values = {"format": "preference", "prompt": "", "completion": ""}
        assert [field["name"] for field in panel.question.fields] == [
            "format",
            "chosen",
            "rejected",
            "prompt",
            "system",
        ]
        answer(panel, format="preference", chosen="b", rejected="c", prompt="a", system="")
        assert panel.dataset is not None
        assert panel.dataset.version.mapping.format == "preference"
        assert [column["key"] for column in panel.grid.columns] == [
            *("row_id", "split", "prompt", "completion", "rejected"),
        ]
        assert panel.grid._fetch(0, 1)[0]["rejected"] == "three 0"

    def test_a_name_that_is_taken_becomes_a_new_version(
        self, datasets: Datasets, file: Callable[[str, str], Path]
    ) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("support.csv", CSV))
        drop(panel, file("support.csv", CSV + "What is 60?,60\n"))
        assert panel.question.values == {"save_as": "version", "name": "support-2"}
        answer(panel, save_as="version", name="support-2")
        assert panel.dataset is not None
        assert (panel.dataset.version.number, panel.dataset.version.rows) == (2, 61)

    def test_or_a_dataset_of_another_name(self, datasets: Datasets, file: Callable[[str, str], Path]) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("support.csv", CSV))
        drop(panel, file("support.csv", CSV))
        answer(panel, save_as="new", name="support-2")
        assert sorted(dataset.name for dataset in datasets.list()) == ["support", "support-2"]

    def test_an_answer_after_the_file_is_gone_says_so(
        self, datasets: Datasets, file: Callable[[str, str], Path]
    ) -> None:
        panel = DatasetPanel(datasets)
        drop(panel, file("abc.csv", UNSURE))
        panel.zone.discard()
        answer(panel, prompt="b", completion="c")
        assert panel.question.notice == "The file is no longer here; drop it again."

    def test_a_new_panel_shows_the_newest_dataset_and_offers_the_others(
        self, datasets: Datasets, file: Callable[[str, str], Path]
    ) -> None:
        for name in ("first", "second"):
            datasets.upload(file(f"{name}.csv", CSV))
        panel = DatasetPanel(datasets)
        assert panel.dataset is not None
        assert panel.dataset.name == "second"
        panel.choice.value = datasets["first"].id
        assert panel.dataset.name == "first"


class TestTrainPanel:
    VALUES: ClassVar[dict[str, str]] = {
        "base": " /models/tiny ",
        "adapter": "full",
        "epochs": "",
        "max_steps": "60",
        "learning_rate": "2e-3",
        "batch_size": "16",
        "max_length": "",
        "seed": "",
        "scheduler": "cosine",
        "warmup_steps": "",
        "weight_decay": "0.01",
        "logging_steps": "",
        "save_steps": "",
    }

    @pytest.fixture
    def dataset(self, datasets: Datasets, file: Callable[[str, str], Path]) -> Dataset:
        return datasets.upload(file("support.csv", CSV))

    def submit(self, panel: TrainPanel, **changes: str) -> None:
        panel.form._handle_custom_msg({"type": "submit", "values": panel.form.values | self.VALUES | changes}, [])

    def test_it_waits_for_a_dataset(self, dataset: Dataset) -> None:
        panel = TrainPanel(lambda **given: pytest.fail("nothing may start"))
        self.submit(panel, data=dataset.id)
        assert panel.form.locked
        panel.offer(dataset)
        assert not panel.form.locked
        assert panel.form.values["data"] == dataset.id

    def test_start_says_only_what_was_filled_in(self, dataset: Dataset) -> None:
        asked: list[dict[str, Any]] = []
        started: list[Run] = []

        def train(**given: Any) -> Run:
            asked.append(given)
            return Run(dataset.http, "job_1")

        panel = TrainPanel(train, on_start=started.append)
        panel.offer(dataset)
        self.submit(panel)
        expected = {"base": "/models/tiny", "data": dataset["train"], "adapter": None, "scheduler": "cosine"}
        numbers = {"max_steps": 60, "learning_rate": 2e-3, "batch_size": 16, "weight_decay": 0.01}
        assert asked == [expected | numbers]
        assert [run.id for run in started] == ["job_1"]

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("learning_rate", "-1", "greater than 0"),
            ("learning_rate", "abc", "valid number"),
            ("batch_size", "0", "greater than or equal to 1"),
            ("batch_size", "1.5", "valid integer"),
            ("base", "", "name a base model"),
        ],
    )
    def test_a_bad_value_is_refused_beside_its_field(
        self, dataset: Dataset, field: str, value: str, message: str
    ) -> None:
        wb = Workbench(ScriptedServer({}))
        panel = TrainPanel(wb.train)
        panel.offer(dataset)
        self.submit(panel, **{field: value})
        assert list(panel.form.errors) == [field]
        assert message in panel.form.errors[field]
        wb.close()

    def test_what_the_server_refuses_is_shown_too(self, dataset: Dataset) -> None:
        def train(**given: Any) -> Run:
            problem = FieldProblem(pointer="/base", message="There is no model here.")
            raise RemoteError(Invalid("base: There is no model here.", problems=[problem]).problem())

        panel = TrainPanel(train)
        panel.offer(dataset)
        self.submit(panel)
        assert panel.form.errors == {"base": "There is no model here."}

    def test_the_newest_base_is_filled_in(self) -> None:
        panel = TrainPanel(
            lambda **given: pytest.fail("nothing may start"), bases=[("/models/tiny", "tiny v1"), ("mv_2", "tuned v1")]
        )
        assert panel.form.values["base"] == "/models/tiny"


def score(role: str, exact_match: float, perplexity: float) -> ModelScore:
    graded = {"token_f1": exact_match, "rouge_l": exact_match, "chrf": 100 * exact_match}
    values = {"exact_match": exact_match, "perplexity": perplexity, **graded}
    return ModelScore.model_construct(version_id=f"mv_{role}", role=role, rows=2, **values)


def evaluation(comparison: Comparison | None) -> EvaluationRecord:
    scores = [score("base", 0.0, 9.0), score("tuned", 0.5, 2.0)]
    names = {"model": "support v1", "baseline": "tiny v1", "dataset": "rows v1"}
    return EvaluationRecord.model_construct(
        id="ev_1", job_id="job_2", scores=scores, comparison=comparison, created_at=NOW, **names
    )


BETTER = Comparison(
    verdict="better",
    sentence="It is better.",
    p_value=0.00001,
    rows=40,
    only_tuned=20,
    only_base=0,
    metrics=[
        MetricComparison(
            metric="exact_match", base=0.0, tuned=0.5, difference=0.5, low=0.35, high=0.65, verdict="better"
        ),
        MetricComparison(
            metric="perplexity", base=9.0, tuned=2.0, difference=-1.5, low=-1.9, high=-1.1, verdict="better"
        ),
    ],
)
SAMPLE = SampleRow(
    row_id=0,
    prompt="What is <b>1</b>?",
    expected="1",
    answers=[
        Answer(role="base", version_id="mv_base", answer="7", exact_match=False, nll=1.0, tokens=2, token_f1=0.0),
        Answer(role="tuned", version_id="mv_tuned", answer="1", exact_match=True, nll=0.1, tokens=2, token_f1=1.0),
    ],
)
COUNTS: dict[RowFilter, int] = {"all": 45, "gained": 45, "lost": 0, "both": 0, "neither": 0}


def evaluation_answers(record: EvaluationRecord, *states: Job) -> dict[int, Any]:
    return {
        id(jobs_routes.show): list(states),
        id(jobs_routes.resume): job("queued"),
        id(evaluation_routes.show): record,
        id(evaluation_routes.listing): Page(items=[record]),
        id(evaluation_routes.samples): SamplesPage(items=[SAMPLE], offset=0, total=45, counts=COUNTS),
    }


DONE = job("succeeded", id="job_2", kind="evaluate", outcome={"evaluation_id": "ev_1"})


class TestComparisonPanel:
    def test_it_says_when_there_will_be_something(self) -> None:
        assert "by itself" in ComparisonPanel().heading.note

    def test_scores_verdict_and_answers(self) -> None:
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), DONE), [[StateMessage(job=DONE)]])
        panel = ComparisonPanel(Evaluation(server, "job_2"))
        panel.join(FAR)
        widget = panel.comparison
        assert widget in panel.children
        assert widget.sentence == "The tuned model is better than its base: exact match 0.000 → 0.500 (p < 0.001)."
        assert widget.detail == "With 40 rows, a difference below about 15.0 points cannot be told from noise."
        lines = {line["label"]: line for line in widget.scores}
        assert list(lines) == [
            *("Exact match (higher is better)", "Token F1 (higher is better)", "ROUGE-L (higher is better)"),
            *("chrF (higher is better)", "Perplexity (lower is better)"),
        ]
        first, *_, last = widget.scores
        assert (first["base"], first["tuned"], first["difference"]) == ("0.000", "0.500", "+0.500 (+0.350 to +0.650)")
        assert (last["difference"], last["verdict"]) == ("× 0.223 (× 0.15 to × 0.333)", "better")
        assert (lines["Token F1 (higher is better)"]["difference"], widget.total) == ("", 45)
        assert widget.samples == [
            {
                "prompt": "What is <b>1</b>?",
                "expected": "1",
                "base": "7",
                "base_right": False,
                "base_figures": "F1 0.00",
            }
            | {"tuned": "1", "tuned_right": True, "tuned_figures": "F1 1.00"}
        ]
        assert panel.heading.note == "support v1 beside tiny v1, 2 rows of rows v1."

    def test_the_browser_asks_for_the_rows_that_it_shows(self) -> None:
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), DONE), [[StateMessage(job=DONE)]])
        panel = ComparisonPanel(Evaluation(server, "job_2"))
        panel.join(FAR)
        panel.comparison.on_ask({"filter": "lost", "search": "Paris", "sort": "loss", "offset": 40}, [])
        query = server.asked_for(evaluation_routes.samples)[-1]["query"]
        assert (query.filter, query.search, query.sort, query.offset) == ("lost", "Paris", "loss", 40)
        assert panel.comparison.counts["gained"] == 45

    def shown(self, comparison: Comparison, language: Language = "en") -> tuple[ComparisonPanel, ScriptedServer]:
        server = ScriptedServer(evaluation_answers(evaluation(comparison), DONE), [[StateMessage(job=DONE)]])
        panel = ComparisonPanel(Evaluation(server, "job_2"), language=language)
        panel.join(FAR)
        return panel, server

    def test_a_verdict_by_another_metric_shows_its_interval(self) -> None:
        panel, _ = self.shown(BETTER.model_copy(update={"primary": "perplexity"}))
        assert panel.comparison.sentence.endswith("perplexity 9.000 → 2.000 (95 % interval × 0.15 to × 0.333).")
        assert "49.2 % of the perplexity" in panel.comparison.detail

    def test_it_speaks_chinese(self) -> None:
        panel, _ = self.shown(BETTER, "zh-CN")
        assert panel.comparison.sentence == "微调模型优于基础模型：完全匹配 0.000 → 0.500（p 值 < 0.001）。"
        assert panel.comparison.scores[0]["difference"] == "+0.500（+0.350 至 +0.650）"

    def test_refused_rows_are_said(self) -> None:
        panel, server = self.shown(BETTER)
        server.answers[id(evaluation_routes.samples)] = NotFound("The samples are gone.")
        panel.comparison.on_ask({"filter": "all", "search": "", "sort": "row", "offset": 0}, [])
        assert panel.comparison.trouble == "The samples are gone."

    def test_a_report_goes_to_the_browser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        panel, server = self.shown(BETTER)
        made = Download("ev_1.csv", "text/csv", b"row_id")
        monkeypatch.setattr(server, "download", lambda route, query, **given: made)
        sent: list[Any] = []
        monkeypatch.setattr(panel.downloads, "send", lambda content, buffers: sent.append((content, buffers)))
        panel.downloads.on_fetch({"name": "csv"}, [])
        panel.downloads.on_fetch({"name": "exe"}, [])
        assert sent == [({"type": "file", "filename": "ev_1.csv", "content_type": "text/csv"}, [b"row_id"])]

    def test_a_reader_gets_no_buttons(self) -> None:
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), job("failed")), [[state("failed")]])
        panel = ComparisonPanel(Evaluation(server, "job_2"), can_write=False)
        panel.join(FAR)
        assert (panel.progress.can_cancel, panel.progress.can_resume) == (False, False)

    def test_past_comparisons_can_be_chosen(self) -> None:
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), DONE), [[StateMessage(job=DONE)]])
        panel = ComparisonsPanel(server)
        panel.comparison.join(FAR)
        ((value, label),) = panel.choice.options
        assert value == "ev_1"
        assert label.startswith("support v1 beside tiny v1 · rows v1 · 2026-11-22")
        assert panel.comparison.comparison.verdict == "better"

    def test_without_comparisons_it_says_so(self) -> None:
        panel = ComparisonsPanel(ScriptedServer({id(evaluation_routes.listing): Page(items=[])}))
        assert panel.heading.note == "There is no finished evaluation yet."

    def test_without_a_baseline_there_is_no_verdict(self) -> None:
        alone = {"scores": [score("tuned", 0.5, 2.0)], "baseline": None}
        record = evaluation(None).model_copy(update=alone)
        server = ScriptedServer(evaluation_answers(record, DONE), [[StateMessage(job=DONE)]])
        panel = ComparisonPanel(Evaluation(server, "job_2"))
        panel.join(FAR)
        assert panel.comparison.sentence == ""
        lines = [(line["base"], line["tuned"], line["verdict"]) for line in panel.comparison.scores]
        assert (lines[0], lines[-1]) == (("—", "0.500", ""), ("—", "2.000", ""))
        assert panel.heading.note == "support v1, 2 rows of rows v1."

    def test_a_failure_is_shown_and_can_be_resumed(self) -> None:
        failed = job("failed", error="The disk is full.")
        streams = [[StateMessage(job=failed)], [StateMessage(job=DONE)]]
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), failed, failed, DONE), streams)
        panel = ComparisonPanel(Evaluation(server, "job_2"))
        panel.join(FAR)
        assert (panel.progress.error, panel.progress.can_resume) == ("The disk is full.", True)
        panel.progress.on_resume({}, [])
        panel.join(FAR)
        assert panel.comparison in panel.children

    def test_a_server_that_went_away_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workbench.evaluation.panel.RETRY_INTERVAL", 0.0)
        streams: list[list[Message | Exception]] = [[ServerUnreachable()], [StateMessage(job=DONE)]]
        server = ScriptedServer(evaluation_answers(evaluation(BETTER), DONE), streams)
        panel = ComparisonPanel(Evaluation(server, "job_2"))
        panel.join(FAR)
        assert panel.comparison in panel.children


def version(test_rows: int = 6) -> Version:
    return Version.model_validate(
        {
            "id": "dsv_1",
            "dataset_id": "ds_1",
            "number": 1,
            "parent_id": None,
            "author_id": "u",
            "author_name": "A",
            "message": "",
            "created_at": NOW,
            "rows": 60,
            "content_hash": "0" * 64,
            "train_rows": 54,
            "test_rows": test_rows,
            "size_bytes": 1,
            "manifest": "m",
            "test_fraction": 0.1,
            "split_seed": 0,
            "mapping": {"prompt": "q", "completion": "a"},
            "columns": [],
            "reading": "Read 60 rows.",
        }
    )


def main_answers(runs: Sequence[Job], test_rows: int = 6) -> dict[int, Any]:
    dataset = DatasetRecord(id="ds_1", name="support", owner_id="u", created_at=NOW, head=version(test_rows))

    def show(job_id: str) -> Job:
        return DONE if job_id == "job_2" else runs[0]

    return evaluation_answers(evaluation(BETTER)) | {
        id(datasets_routes.listing): Page(items=[dataset]),
        id(datasets_routes.version): version(test_rows),
        id(registry_routes.listing): Page(items=[]),
        id(jobs_routes.listing): Page(items=list(runs)),
        id(jobs_routes.show): show,
        id(jobs_routes.log): page("done\n"),
        id(evaluation_routes.submit): DONE,
    }


TUNED = {"model_version_id": "mv_tuned", "base_version_id": "mv_base"}
TRAINED = job("succeeded", outcome={**TUNED, "evaluation_job_id": "job_2"})
STREAMS = ([metric(1), metric(2), StateMessage(job=TRAINED)], [StateMessage(job=DONE)])


class TestMainPanel:
    def settle(self, panel: MainPanel) -> None:
        assert panel.run is not None
        panel.run.join(FAR)
        panel.comparison.join(FAR)

    def test_an_empty_home_shows_four_steps_and_what_to_do(self) -> None:
        panel = MainPanel(Workbench(ScriptedServer(main_answers([]) | {id(datasets_routes.listing): Page(items=[])})))
        titles = [panel.data.heading.title, panel.training.heading.title, panel.comparison.heading.title]
        assert titles == ["1 · Data", "2 · Train", "4 · Compare"]
        assert panel.training.form.locked
        assert panel.run is None

    def test_a_new_panel_finds_dataset_and_run_again(self) -> None:
        panel = MainPanel(Workbench(ScriptedServer(main_answers([job("failed")]), [[metric(1), state("failed")]])))
        self.settle(panel)
        assert panel.training.form.values["data"] == "ds_1"
        assert panel.run is not None
        assert shown(panel.run)[0] == [1]
        assert panel.comparison.evaluation is None

    def test_the_comparison_that_followed_a_run_is_shown(self) -> None:
        server = ScriptedServer(main_answers([TRAINED]), STREAMS)
        panel = MainPanel(Workbench(server))
        self.settle(panel)
        assert panel.comparison.comparison.verdict == "better"
        assert server.asked_for(evaluation_routes.submit) == []

    def test_without_held_out_rows_it_says_why_nothing_is_compared(self) -> None:
        alone = job("succeeded", outcome=TUNED)
        panel = MainPanel(Workbench(ScriptedServer(main_answers([alone]), [[StateMessage(job=alone)]])))
        self.settle(panel)
        assert "no rows were held out" in panel.comparison.heading.note

    def test_a_new_run_takes_the_place_of_the_last_one(self) -> None:
        streams = ([state("failed")], [metric(1), state("failed")])
        panel = MainPanel(Workbench(ScriptedServer(main_answers([job("failed")]), streams)))
        self.settle(panel)
        first = panel.run
        panel._started(Run(panel._wb.http, "job_9"))
        self.settle(panel)
        assert panel.run is not first
        assert panel.run in panel.watching.children
        assert first not in panel.watching.children
