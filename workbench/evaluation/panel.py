"""The comparison panel: a tuned model beside its base, with the verdict and the answers."""

from __future__ import annotations

import math
import threading
from typing import get_args

import ipywidgets

from workbench.core.clock import utcnow
from workbench.core.errors import WorkbenchError
from workbench.core.http import HTTP, ServerUnreachable
from workbench.core.routes import Download
from workbench.core.schemas import PageQuery
from workbench.core.texts import Language, explain, preferred_language, text
from workbench.core.widgets.choice import Choice
from workbench.core.widgets.download import DownloadBar
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.progress import Progress
from workbench.core.widgets.side_by_side import PAGE_ROWS, Answers, SideBySide, Wish
from workbench.evaluation import routes
from workbench.evaluation.client import Evaluation
from workbench.evaluation.schemas import Comparison, Metric, MetricComparison, Role, SampleRow, SamplesQuery
from workbench.evaluation.schemas import Evaluation as Record
from workbench.jobs.schemas import ENDED, Job, StateMessage

RETRY_INTERVAL = 1.0  # seconds


class ComparisonPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Shows an evaluation: its progress while it runs, then scores, verdict and answers."""

    def __init__(
        self, evaluation: Evaluation | None = None, *, can_write: bool = True, language: Language | None = None
    ) -> None:
        self.language = language or preferred_language()
        self.evaluation = evaluation
        self._can_write = can_write
        self.heading = Heading(self.language, title=self._text("title"), note=self._text("empty"))
        self.progress = Progress(cancel=self._cancel, resume=self._resume, language=self.language)
        self.comparison = SideBySide(self.language)
        files = [(form, form.upper()) for form in ("html", "csv", "json")]
        self.downloads = DownloadBar(files, self._download, language=self.language)
        self._thread: threading.Thread | None = None
        super().__init__([self.heading])
        self.add_class("wb-panel")
        self.progress.when_ready(self.progress.send_state)
        if evaluation is not None:
            self.show(evaluation)

    def show(self, evaluation: Evaluation) -> None:
        """Show this evaluation from now on."""
        self.evaluation = evaluation
        self._note("running")
        self._show_job(evaluation.job())
        self.children = [self.heading, self.progress]
        self._thread = threading.Thread(target=self._follow, args=(evaluation,), name=evaluation.id, daemon=True)
        self._thread.start()

    def note(self, sentence: str) -> None:
        """Say why nothing is compared."""
        self.heading.note = sentence
        self.children = [self.heading]

    def join(self, timeout: float | None = None) -> None:
        """Wait until the evaluation has ended and is shown."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _follow(self, evaluation: Evaluation) -> None:
        waiting = threading.Event()
        while self.evaluation is evaluation:
            try:
                return self._listen(evaluation)
            except ServerUnreachable as error:
                self.progress.connection = self.progress.explained(error)
                waiting.wait(RETRY_INTERVAL)
            except WorkbenchError as error:
                self.progress.connection = self.progress.explained(error)
                return None
        return None

    def _listen(self, evaluation: Evaluation) -> None:
        for message in evaluation.stream():
            if self.evaluation is not evaluation:
                return
            if isinstance(message, StateMessage):
                self._show_job(message.job)
        if evaluation.job().state == "succeeded":
            self._show_scores(evaluation)

    def _show_job(self, job: Job) -> None:
        with self.progress.hold_sync():
            self.progress.state = job.state
            self.progress.reason = job.wait_reason or ""
            self.progress.error = explain(job.error_code, job.error, self.language) if job.error else ""
            self.progress.connection = ""
            self.progress.can_cancel = self._can_write and job.state not in ENDED and not job.cancel_requested
            self.progress.can_resume = self._can_write and job.state in ("failed", "cancelled")
            if job.started_at is not None:
                self.progress.elapsed = ((job.finished_at or utcnow()) - job.started_at).total_seconds()

    def _show_scores(self, evaluation: Evaluation) -> None:
        record = evaluation.record
        self.comparison.scores = [self._score(name, record) for name in get_args(Metric) if _measured(name, record)]
        self._show_verdict(record.comparison)
        self.comparison.show(lambda wish: self._answers(evaluation, wish))
        names = {"model": record.model, "baseline": record.baseline, "dataset": record.dataset}
        key = "rows" if record.baseline is not None else "rows_alone"
        self.heading.note = self._text(key, rows=f"{record.scores[0].rows:,}", **names)
        self.children = [self.heading, self.comparison, self.downloads]

    def _show_verdict(self, comparison: Comparison | None) -> None:
        with self.comparison.hold_sync():
            self.comparison.verdict = comparison.verdict if comparison is not None else ""
            self.comparison.sentence = self._sentence(comparison) if comparison is not None else ""
            self.comparison.detail = self._detail(comparison) if comparison is not None else ""

    def _sentence(self, comparison: Comparison) -> str:
        found = comparison.headline
        if found is None:
            return self._text("one_row")
        if found.metric == "exact_match":
            evidence = self._text("p_value", p=_p_value(comparison.p_value))
        else:
            _, low, high = _differences(found)
            evidence = self._text("between", low=low, high=high)
        values = {"base": f"{found.base:.3f}", "tuned": f"{found.tuned:.3f}", "evidence": evidence}
        return self._text(comparison.verdict, metric=self._text(f"name_{found.metric}"), **values)

    def _detail(self, comparison: Comparison) -> str:
        found = comparison.headline
        if found is None:
            return ""
        if found.detectable == 0:
            return self._text("alike")
        least = f"{found.detectable_points:.1f}"
        unit = self._text("least_percent" if found.metric == "perplexity" else "least_points", size=least)
        return self._text("detectable", rows=f"{comparison.rows:,}", least=unit)

    def _score(self, name: Metric, record: Record) -> dict[str, str]:
        values = {score.role: getattr(score, name) for score in record.scores}
        compared = record.comparison.metrics if record.comparison is not None else []
        found = next((each for each in compared if each.metric == name), None)
        shown = {role: f"{values[role]:.3f}" if role in values else "—" for role in get_args(Role)}
        difference, low, high = _differences(found) if found is not None else ("", "", "")
        interval = self._text("interval", value=difference, low=low, high=high) if found is not None else ""
        verdict = found.verdict if found is not None else ""
        return {"label": self._text(name), "difference": interval, "verdict": verdict, **shown}

    def _answers(self, evaluation: Evaluation, wish: Wish) -> Answers:
        wanted = {"filter": wish.filter, "search": wish.search, "sort": wish.sort, "offset": wish.offset}
        page = evaluation.page(SamplesQuery.model_validate({**wanted, "limit": PAGE_ROWS}))
        counts = {str(name): count for name, count in page.counts.items()}
        return Answers([self._sample(row) for row in page.items], page.total, counts)

    def _sample(self, row: SampleRow) -> dict[str, str | bool]:
        sides: dict[str, str | bool] = {"prompt": row.prompt, "expected": row.expected}
        for answer in row.answers:
            figures = self._text("figures", f1=f"{answer.token_f1:.2f}") if answer.token_f1 is not None else ""
            sides |= {answer.role: answer.answer, f"{answer.role}_right": answer.exact_match}
            sides[f"{answer.role}_figures"] = figures
        return sides

    def _download(self, form: str) -> Download:
        assert self.evaluation is not None
        return self.evaluation.download(form)

    def _note(self, key: str) -> None:
        self.heading.note = self._text(key)

    def _cancel(self) -> None:
        if self.evaluation is not None:
            self._show_job(self.evaluation.cancel())

    def _resume(self) -> None:
        if self.evaluation is not None:
            self.evaluation.resume()
            self.join()
            self.show(self.evaluation)

    def _text(self, key: str, **values: object) -> str:
        return text(f"eval.{key}", self.language, **values)


class ComparisonsPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Shows the finished evaluations, newest first, one at a time."""

    def __init__(self, http: HTTP, *, can_write: bool = True, language: Language | None = None) -> None:
        self.language = language or preferred_language()
        self._http = http
        self._records = {record.id: record for record in http.call(routes.listing, query=PageQuery(limit=200)).items}
        options = [(record.id, self._title(record)) for record in self._records.values()]
        note = "" if options else text("eval.none", self.language)
        self.heading = Heading(self.language, title=text("eval.comparisons", self.language), note=note)
        self.choice = Choice(text("eval.choose", self.language), options, self._choose, language=self.language)
        self.comparison = ComparisonPanel(can_write=can_write, language=self.language)
        self.comparison.heading.title = ""
        super().__init__([self.heading, self.choice, self.comparison] if options else [self.heading])
        self.add_class("wb-panel")
        if options:
            self._choose(options[0][0])

    def _choose(self, evaluation_id: str) -> None:
        record = self._records[evaluation_id]
        self.comparison.show(Evaluation(self._http, record.job_id))

    def _title(self, record: Record) -> str:
        names = {"model": record.model, "baseline": record.baseline, "dataset": record.dataset}
        key = "eval.option" if record.baseline is not None else "eval.option_alone"
        date = f"{record.created_at.astimezone():%Y-%m-%d %H:%M}"
        return text(key, self.language, date=date, **names)


def _measured(name: Metric, record: Record) -> bool:
    return all(getattr(score, name) is not None for score in record.scores)


def _differences(found: MetricComparison) -> tuple[str, str, str]:
    """Return the difference and its bounds, formatted; for perplexity as factors."""
    values = (found.difference, found.low, found.high)
    if found.metric == "perplexity":
        difference, low, high = (f"× {math.exp(min(value, 700)):.3g}" for value in values)
    else:
        difference, low, high = (f"{value:+.3f}" for value in values)
    return difference, low, high


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
