"""The runs panel: all runs in a list that keeps itself up to date, and the chosen one live."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.listing import Listing, Row
from workbench.core.widgets.live_panel import LivePanel
from workbench.jobs.schemas import Job
from workbench.training.client import Run
from workbench.training.panel import RunPanel


class RunsPanel(LivePanel):
    """Lists runs, newest first: `runs()` returns them and `run(id)` one of them. The newest is shown at first."""

    def __init__(
        self,
        runs: Callable[[], Sequence[Job]],
        run: Callable[[str], Run],
        *,
        can_write: bool = True,
        language: Language | None = None,
    ) -> None:
        self.language = language or preferred_language()
        self._runs = runs
        self._run = run
        self._can_write = can_write
        self.run: RunPanel | None = None
        self.listing = Listing(
            self._text("title"), self._columns(), self._show, empty=self._text("empty"), language=self.language
        )
        super().__init__(Heading(self.language, title=self._text("title")), self.listing)
        self.refresh()
        self.keep_fresh()

    def refresh(self) -> None:
        """Ask the server which runs there are."""
        jobs = self._runs()
        self.listing.offer([self._row(job) for job in jobs])
        if jobs and not self.listing.value:
            self.listing.value = jobs[0].id

    def _show(self, run_id: str) -> None:
        if self.run is not None:
            self.run.close()
        self.run = RunPanel(self._run(run_id), can_write=self._can_write, language=self.language)
        self.children = [self.heading, self.listing, self.run]

    def _columns(self) -> list[dict[str, object]]:
        return [
            {"key": "title", "label": self._text("run")},
            {"key": "state_word", "label": self._text("state"), "badge": "state"},
            {"key": "owner", "label": self._text("owner"), "minor": True},
            {"key": "created_at", "label": self._text("created"), "time": True, "minor": True},
        ]

    def _row(self, job: Job) -> Row:
        return {
            "id": job.id,
            "title": job.title,
            "state": job.state,
            "state_word": text(f"progress.{job.state}", self.language),
            "owner": job.owner_name,
            "created_at": job.created_at.isoformat(),
        }

    def _text(self, key: str) -> str:
        return text(f"runs.{key}", self.language)
