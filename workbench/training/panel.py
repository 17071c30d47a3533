"""The training panels: a form that starts a run, and a run shown live."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from workbench.core.clock import utcnow
from workbench.core.errors import FieldProblem, Invalid, WorkbenchError
from workbench.core.http import ServerUnreachable
from workbench.core.texts import Language, catalogue, explain, preferred_language, text
from workbench.core.widgets.chart_bar import ChartBar
from workbench.core.widgets.form import Form, Values
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.log_view import LogView
from workbench.core.widgets.progress import Progress
from workbench.core.widgets.series import Series
from workbench.core.widgets.token_view import TokenRow, TokenView
from workbench.datasets.client import Dataset
from workbench.jobs.schemas import ENDED, Job, Message, MetricMessage, ResumedMessage, StateMessage
from workbench.training.client import Run
from workbench.training.schemas import Preview

REDRAW_INTERVAL = 0.25  # seconds
QUIET_INTERVAL = 1.0  # seconds between two looks when no message comes
LOG_BYTES = 65_536  # a look
SPEED_WINDOW = 30  # points

NUMBERS = ("epochs", "max_steps", "learning_rate", "batch_size", "max_length", "seed")
MORE_NUMBERS = ("warmup_steps", "weight_decay", "logging_steps", "save_steps")
PLACEHOLDERS = {
    "epochs": "3",
    "learning_rate": "2e-5 / 2e-4",
    "batch_size": "16",
    "max_length": "1024",
    "seed": "0",
    "warmup_steps": "0",
    "weight_decay": "0",
    "logging_steps": "5",
    "save_steps": "100",
}
FIRST_METRIC = "loss"


class TrainPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Asks what to train and starts it: `train` is `Workbench.train`; `on_start(run)` hears of the new run.

    `preview` returns rows as the chosen base would see them, for `base`, `data`, `offset` and `max_length`.
    """

    def __init__(
        self,
        train: Callable[..., Run],
        *,
        preview: Callable[..., Preview] | None = None,
        bases: Sequence[tuple[str, str]] = (),
        on_start: Callable[[Run], None] | None = None,
        language: Language | None = None,
    ) -> None:
        self.language = language or preferred_language()
        self._train = train
        self._on_start = on_start
        self._datasets: dict[str, Dataset] = {}
        self._bases = list(bases)
        self.heading = Heading(self.language, title=self._text("title"), note=self._text("empty"))
        base = self._bases[0][0] if self._bases else ""
        values = {"base": base, "adapter": "full", "scheduler": "linear"}
        self.form = Form(self._fields(), self._start, action=self._text("start"), values=values, language=self.language)
        self.form.locked = True
        self._preview = preview
        self.tokens = TokenView(self._row, language=self.language)
        self.tokens.locked = True
        super().__init__([self.heading, self.form, *([self.tokens] if preview is not None else [])])
        self.add_class("wb-panel")

    def offer(self, dataset: Dataset) -> None:
        """Add a dataset to those that can be trained on, and choose it."""
        self._datasets = {dataset.id: dataset} | {
            key: known for key, known in self._datasets.items() if key != dataset.id
        }
        self.form.fields = self._fields()
        self.form.values = {**self.form.values, "data": dataset.id}
        self.form.locked = self.tokens.locked = False
        self.tokens.is_open = False
        self.heading.note = ""

    def _start(self, values: Values) -> None:
        dataset = self._datasets.get(values["data"])
        if dataset is None:
            raise Invalid(problems=[FieldProblem(pointer="/data", message=self._text("data_missing"))])
        given = {name: _number(value) for name in (*NUMBERS, *MORE_NUMBERS) if (value := values[name].strip())}
        adapter = "lora" if values["adapter"] == "lora" else None
        base, scheduler = values["base"].strip(), values["scheduler"]
        run = self._train(base=base, data=dataset["train"], adapter=adapter, scheduler=scheduler, **given)
        if self._on_start is not None:
            self._on_start(run)

    def _row(self, place: int) -> TokenRow:
        """Return one training row under the template of the base that stands in the form."""
        assert self._preview is not None
        values = self.form.values
        dataset, base = self._datasets[values["data"]], values.get("base", "").strip()
        if not base:
            raise Invalid(self._text("base_missing"))
        length = _number(values.get("max_length", "").strip() or PLACEHOLDERS["max_length"])
        found = self._preview(base=base, data=dataset["train"], offset=place, max_length=length)
        row = found.items[0]
        counts = {"tokens": row.tokens, "trained": row.trained_tokens, "cut": row.cut_tokens}
        facts = self._text("tokens", template=found.template, **{name: f"{count:,}" for name, count in counts.items()})
        if row.untrained_turns:
            facts += " " + self._text("untrained_turns", turns=row.untrained_turns)
        return TokenRow([(span.text, span.trained) for span in row.spans], found.total, facts)

    def _fields(self) -> list[dict[str, Any]]:
        datasets = [(key, self._dataset_label(dataset)) for key, dataset in self._datasets.items()]
        adapters = [(key, self._text(f"adapter_{key}")) for key in ("full", "lora")]
        schedulers = [(key, key) for key in ("linear", "cosine", "constant")]
        return [
            self._field("data", "choice", options=datasets, wide=True),
            self._field("base", "text", suggestions=self._bases, wide=True, placeholder="Qwen/Qwen3-0.6B"),
            self._field("adapter", "choice", options=adapters),
            *(self._field(name, "number", placeholder=PLACEHOLDERS.get(name)) for name in NUMBERS),
            self._field("scheduler", "choice", options=schedulers, more=True),
            *(self._field(name, "number", placeholder=PLACEHOLDERS[name], more=True) for name in MORE_NUMBERS),
        ]

    def _field(self, name: str, kind: str, **more: Any) -> dict[str, Any]:
        help_text = catalogue(self.language).get(f"train.{name}_help", "")
        return {"name": name, "label": self._text(name), "kind": kind, "help": help_text, **more}

    def _dataset_label(self, dataset: Dataset) -> str:
        head = dataset.version
        return self._text("data_option", name=dataset.name, number=head.number, rows=f"{head.train_rows:,}")

    def _text(self, key: str, **values: object) -> str:
        return text(f"train.{key}", self.language, **values)


class RunPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Shows a run live. It belongs to no page: a reload, or a second view, shows the same.

    Who may not write (`can_write`) gets no buttons.

    Two threads serve it: one reads the run's stream, one draws, at most every `REDRAW_INTERVAL`.
    """

    def __init__(
        self,
        run: Run,
        *,
        on_end: Callable[[Job], None] | None = None,
        can_write: bool = True,
        language: Language | None = None,
    ) -> None:
        from workbench.core.widgets.chart import LiveChart

        self.language = language or preferred_language()
        self.run = run
        self.series = Series()
        self._on_end = on_end
        self._can_write = can_write
        self._job = run.job()
        self._seq = 0
        self._pace: deque[MetricMessage] = deque(maxlen=SPEED_WINDOW)
        self._log_position = (-1, -LOG_BYTES)
        self._log_due = 0.0
        self._lock = threading.RLock()
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.heading = Heading(self.language, note=self._text("watch.run", title=self._job.title, id=run.id))
        self.progress = Progress(cancel=self._cancel, resume=self._resume, language=self.language)
        first = (FIRST_METRIC, self._metric_label(FIRST_METRIC))
        self.metric = ChartBar(self._text("watch.metric"), [first], self._draw_chart, language=self.language)
        self.chart = LiveChart(self._text("watch.step"))
        self.output = LogView(language=self.language)
        self.chart_box = ipywidgets.VBox([self.metric, self.chart])
        self.chart_box.add_class("wb-chart-box")
        super().__init__([self.heading, self.progress, self.chart_box, self.output])
        self.add_class("wb-panel")
        self.progress.when_ready(self._draw_again)
        self._draw()
        self._start()

    @property
    def state(self) -> str:
        """The run's state, as far as this panel has heard."""
        return self._job.state

    def close(self) -> None:
        """Stop listening and remove the widgets; the run goes on.

        A box goes before what it holds: an open box with a closed child keeps a page from loading any widget.
        """
        self._closed.set()
        self._changed.set()
        super().close()
        for widget in (self.chart_box, self.heading, self.progress, self.metric, self.chart, self.output):
            widget.close()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the run has ended and all of it is shown."""
        for thread in self._threads:
            thread.join(timeout)

    def _start(self) -> None:
        listener = threading.Thread(target=self._listen, name=f"listen-{self.run.id}", daemon=True)
        painter = threading.Thread(target=self._paint, args=(listener,), name=f"paint-{self.run.id}", daemon=True)
        self._threads = [listener, painter]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                for message in self.run.stream(self._seq):
                    self._take(message)
                    if self._closed.is_set():
                        return
            except ServerUnreachable:
                self._note_connection(self._text("watch.reconnecting"))
                self._closed.wait(QUIET_INTERVAL)
            except WorkbenchError as error:
                self._note_connection(self.progress.explained(error))
                return
            else:
                return

    def _note_connection(self, sentence: str) -> None:
        self.progress.connection = sentence

    def _take(self, message: Message) -> None:
        with self._lock:
            if isinstance(message, StateMessage):
                self._job = message.job
                self._note_connection("")
            elif isinstance(message, ResumedMessage):
                self.series.rewind(message.step)
                self._pace.clear()
            else:
                self._seq = message.seq
                self.series.add(message.step, message.values)
                self._pace.append(message)
        self._changed.set()

    def _paint(self, listener: threading.Thread) -> None:
        alive = True
        while alive and not self._closed.is_set():
            alive = listener.is_alive()
            if self._changed.is_set():
                self._changed.clear()
                self._draw()
            self._read_log(hurry=not alive)
            if alive:
                self._closed.wait(REDRAW_INTERVAL)
                self._changed.wait(QUIET_INTERVAL)
        if self._job.state in ENDED and self._on_end is not None and not self._closed.is_set():
            self._on_end(self._job)

    def _draw(self) -> None:
        with self._lock:
            self._draw_metric_names()
            self._draw_chart(self.metric.value)
            self._draw_progress()

    def _draw_again(self) -> None:
        with self._lock:
            self.chart.push()
            self.progress.send_state()

    def _draw_metric_names(self) -> None:
        names = [FIRST_METRIC, *(name for name in self.series.names if name != FIRST_METRIC)]
        self.metric.offer([(name, self._metric_label(name)) for name in names], self.metric.value)

    def _draw_chart(self, metric: str) -> None:
        with self._lock:
            self.chart.draw(self._metric_label(metric), *self.series.arrays(metric))

    def _draw_progress(self) -> None:
        job, progress = self._job, self.progress
        with progress.hold_sync():
            progress.state = job.state
            progress.reason = job.wait_reason or ""
            progress.error = explain(job.error_code, job.error, self.language) if job.error else ""
            progress.can_cancel = self._can_write and job.state not in ENDED and not job.cancel_requested
            progress.can_resume = self._can_write and job.state in ("failed", "cancelled")
            progress.elapsed = self._elapsed()
            if self._pace:
                progress.step, progress.total = self._pace[-1].step, self._pace[-1].total_steps
                progress.remaining = self._remaining()
            progress.figures = self._figures()

    def _elapsed(self) -> float:
        if self._job.started_at is None:
            return -1.0
        return ((self._job.finished_at or utcnow()) - self._job.started_at).total_seconds()

    def _remaining(self) -> float:
        first, last = self._pace[0], self._pace[-1]
        if last.step <= first.step:
            return -1.0
        seconds_a_step = (last.at - first.at) / (last.step - first.step)
        return seconds_a_step * (last.total_steps - last.step)

    def _figures(self) -> list[tuple[str, str]]:
        speed, loss = self.series.last("tokens_per_second"), self.series.last(FIRST_METRIC)
        figures = [
            (self._text("progress.speed"), f"{speed:,.0f}") if speed is not None else None,
            (self._metric_label(FIRST_METRIC), f"{loss:.4f}") if loss is not None else None,
        ]
        return [figure for figure in figures if figure is not None]

    def _read_log(self, hurry: bool) -> None:
        if not hurry and time.monotonic() < self._log_due:
            return
        try:
            while self._read_log_piece():
                pass
        except WorkbenchError as error:
            self._note_connection(self.progress.explained(error))
        self._log_due = time.monotonic() + QUIET_INTERVAL

    def _read_log_piece(self) -> bool:
        """Append the next piece of the log; tell whether there is more."""
        attempt_no, offset = self._log_position
        page = self.run.log(offset, LOG_BYTES)
        if page.attempt_no != attempt_no:
            self.output.clear()
            page = page if offset < 0 else self.run.log(-LOG_BYTES, LOG_BYTES)
        self.output.append(page.text)
        self._log_position = (page.attempt_no, page.next_offset)
        return page.next_offset < page.size_bytes

    def _cancel(self) -> None:
        with self._lock:
            self._job = self.run.cancel()
            self._draw()

    def _resume(self) -> None:
        self.join()
        self._job = self.run.resume()
        self._draw()
        self._start()

    def _metric_label(self, name: str) -> str:
        return catalogue(self.language).get(f"metric.{name}", name)

    def _text(self, key: str, **values: object) -> str:
        return text(key, self.language, **values)


def _number(given: str) -> int | float | str:
    """Read a number; what is none goes to the server as it is, which then says what is wrong with it."""
    for kind in (int, float):
        try:
            return kind(given)
        except ValueError:
            continue
    return given
