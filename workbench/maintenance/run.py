"""The worker of backups and drills: `python -m workbench.maintenance.run backup|drill ATTEMPT_DIR`.

Unlike other workers it reads the database: it runs no code but ours.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from workbench.core.settings import Settings
from workbench.jobs.attempt import Attempt, StopRequest, leave, run_worker
from workbench.jobs.metrics import MetricsWriter
from workbench.maintenance import archive, restoring

REPORT_INTERVAL = 0.5  # seconds between two lines of progress

logger = logging.getLogger("workbench")


def back_up(attempt: Attempt, stop: StopRequest) -> None:
    """Write a backup into the folder of backups, and remove the oldest beyond those that are kept."""
    settings = Settings(home=attempt.home)
    path = restoring.backup_path(settings)
    with MetricsWriter(attempt.metrics, attempt.last_seq) as writer:
        result = restoring.back_up(settings, path, progress=reporting(writer, stop))
    removed = retain(settings)
    logger.info("Wrote %s: %d rows, %d files known by their hashes.", path, result.rows, result.objects)
    if result.missing:
        logger.warning("The database refers to %d files that are not there.", result.missing)
    attempt.write("result", result.model_copy(update={"removed": removed}).model_dump(mode="json"))


def drill(attempt: Attempt, stop: StopRequest) -> None:
    """Restore the newest backup into a scratch place, and compare it."""
    with MetricsWriter(attempt.metrics, attempt.last_seq) as writer:
        result = restoring.drill(Settings(home=attempt.home), None, reporting(writer, stop))
    logger.info("%s holds: %d rows and %d files are what was written.", result.path, result.rows, result.objects)
    attempt.write("result", result.model_dump(mode="json"))


def retain(settings: Settings) -> list[str]:
    """Remove the oldest backups beyond those that are kept, and return their paths."""
    for part in restoring.parts(settings):  # one backup is made at a time: these are left from killed ones
        part.unlink(missing_ok=True)
    old = restoring.backups(settings)[: -settings.backup_keep]
    for path in old:
        path.unlink(missing_ok=True)
    return [str(path) for path in old]


def reporting(writer: MetricsWriter, stop: StopRequest) -> archive.Progress:
    """Return a progress that writes metric lines, a few a second, and stops when it is asked to."""
    last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        stop.check()
        if done == total or time.monotonic() - last > REPORT_INTERVAL:
            last = time.monotonic()
            writer.write(done, total, {})

    return report


WORK: dict[str, Callable[[Attempt, StopRequest], None]] = {"backup": back_up, "drill": drill}

if __name__ == "__main__":
    leave(run_worker(WORK[sys.argv[1]], sys.argv[2:]))
