"""The queue panel: what runs, what waits and why, in the order in which it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from workbench.core.errors import WorkbenchError
from workbench.core.texts import Language, catalogue, preferred_language, text
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.live_panel import LivePanel
from workbench.core.widgets.queue_list import Entry, QueueList
from workbench.jobs.client import Jobs
from workbench.jobs.schemas import QueuedJob

SHOWN = 200  # jobs at most


class QueuePanel(LivePanel):
    """Shows the queue and keeps it up to date. Who may not write (`can_write`) gets no buttons."""

    def __init__(self, jobs: Jobs, *, can_write: bool = True, language: Language | None = None) -> None:
        self.language = language or preferred_language()
        self._jobs = jobs
        self._can_write = can_write
        self._asking = threading.Lock()  # an older answer never replaces a newer one
        move = self._then_refresh(lambda job_id, before: self._jobs[job_id].start_before(before))
        cancel = self._then_refresh(lambda job_id: self._jobs[job_id].cancel())
        self.queue = QueueList(move, cancel, language=self.language)
        super().__init__(Heading(self.language, title=text("queue.title", self.language)), self.queue)
        self.refresh()
        self.keep_fresh()

    def refresh(self) -> None:
        """Ask the server what runs and what waits."""
        with self._asking:
            page = self._jobs.queue(SHOWN)
            self.queue.offer([self._entry(queued) for queued in page.items], cut=page.next_cursor is not None)

    def _then_refresh(self, act: Callable[..., object]) -> Callable[..., None]:
        def acted(*given: str | None) -> None:
            try:
                act(*given)
            except WorkbenchError:
                with suppress(WorkbenchError):
                    self.refresh()  # what was shown was not what is
                raise
            self.refresh()

        return acted

    def _entry(self, queued: QueuedJob) -> Entry:
        job = queued.job
        kind = catalogue(self.language).get(f"queue.kind_{job.kind}", job.kind)
        amounts = [
            text(f"queue.{unit}", self.language, n=n) for unit, n in (("gpus", job.gpus), ("cpus", job.cpus)) if n
        ]
        return {
            "id": job.id,
            "title": job.title,
            "place": "" if queued.place is None else f"{queued.place}",
            "state": job.state,
            "state_word": text(f"progress.{job.state}", self.language),
            "detail": " · ".join([kind, job.owner_name, *amounts]),
            "reason": job.wait_reason or "",
            "movable": self._can_write and queued.changeable and queued.place is not None,
            "cancellable": self._can_write and queued.changeable and not job.cancel_requested,
        }
