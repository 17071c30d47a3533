"""The comparison panel: a tuned model beside its base, with the verdict and the answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import ipywidgets

from workbench.core.clock import utcnow
from workbench.core.errors import WorkbenchError
from workbench.core.http import ServerUnreachable
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.progress import Progress
from workbench.core.widgets.side_by_side import SideBySide
from workbench.evaluation.client import Evaluation
from workbench.evaluation.schemas import Comparison, ModelScore, SampleRow
from workbench.jobs.schemas import ENDED, Job, StateMessage

RETRY_INTERVAL = 1.0  # seconds
SHOWN_SAMPLES = 200


class ComparisonPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Shows an evaluation: its progress while it runs, then scores, verdict and answers."""

    def __init__(self, evaluation: Evaluation | None = None, *, language: Language | None = None) -> None:
        self.language = language or preferred_language()
        self.evaluation = evaluation
        self.heading = Heading(self.language, title=self._text("title"), note=self._text("empty"))
        self.progress = Progress(cancel=self._cancel, resume=self._resume, language=self.language)
        self.comparison = SideBySide(self.language)
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
                self.progress.connection = error.detail
                waiting.wait(RETRY_INTERVAL)
            except WorkbenchError as error:
                self.progress.connection = error.detail
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
            self.progress.error = job.error or ""
            self.progress.connection = ""
            self.progress.can_cancel = job.state not in ENDED and not job.cancel_requested
            self.progress.can_resume = job.state in ("failed", "cancelled")
            if job.started_at is not None:
                self.progress.elapsed = ((job.finished_at or utcnow()) - job.started_at).total_seconds()

    def _show_scores(self, evaluation: Evaluation) -> None:
        record = evaluation.record
        samples = evaluation.samples(limit=SHOWN_SAMPLES)
        self.comparison.scores = self._scores(record.scores)
        self.comparison.samples = [_sample(row) for row in samples]
        self._show_verdict(record.comparison, record.scores)
        rows = f"{record.scores[0].rows:,}"
        self.heading.note = self._text("rows", rows=rows, shown=f"{len(samples):,}")
        self.children = [self.heading, self.comparison]

    def _show_verdict(self, comparison: Comparison | None, scores: Sequence[ModelScore]) -> None:
        if comparison is None:
            self.comparison.sentence = ""
            return
        match = {score.role: f"{score.exact_match:.3f}" for score in scores}
        self.comparison.verdict = comparison.verdict
        self.comparison.sentence = self._text(comparison.verdict, **match, p=_p_value(comparison.p_value))

    def _scores(self, scores: Sequence[ModelScore]) -> list[dict[str, str | None]]:
        exact_match = {score.role: score.exact_match for score in scores}
        perplexity = {score.role: score.perplexity for score in scores}
        return [
            self._score("exact_match", exact_match.get("base"), exact_match.get("tuned"), higher=True),
            self._score("perplexity", perplexity.get("base"), perplexity.get("tuned"), higher=False),
        ]

    def _score(self, name: str, base: float | None, tuned: float | None, *, higher: bool) -> dict[str, str | None]:
        better = None
        if base is not None and tuned is not None and base != tuned:
            better = "tuned" if (tuned > base) == higher else "base"
        shown = {side: "—" if value is None else f"{value:.3f}" for side, value in (("base", base), ("tuned", tuned))}
        return {"label": self._text(name), "better": better, **shown}

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


def _sample(row: SampleRow) -> dict[str, str | bool]:
    answers = {answer.role: answer for answer in row.answers}
    sides: dict[str, str | bool] = {}
    for role in ("base", "tuned"):
        answer = answers.get(role)
        sides[role] = answer.answer if answer is not None else ""
        sides[f"{role}_right"] = answer is not None and answer.exact_match
    return {"prompt": row.prompt, "expected": row.expected, **sides}


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
