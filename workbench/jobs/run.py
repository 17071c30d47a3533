"""The notebook worker: `python -m workbench.jobs.run ATTEMPT_DIR`. It never opens the database."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nbclient.exceptions import DeadKernelError
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from workbench.core.errors import Invalid, Unavailable, WorkbenchError
from workbench.jobs import signature
from workbench.jobs.attempt import Attempt, StopRequest, leave, run_worker
from workbench.jobs.metrics import MetricsWriter
from workbench.jobs.notebooks import EXECUTED, KERNEL
from workbench.jobs.schemas import NotebookOutcome, NotebookSpec

ENGINE = "workbench"
INTERRUPT_INTERVAL = 0.5  # seconds between two interrupts of a kernel that shall stop
START_TIMEOUT = 120  # seconds a kernel may take to start
REASON_LENGTH = 500  # characters of a failed cell's reason
MAX_RESULT_BYTES = 64 * 2**10

logger = logging.getLogger("workbench")


class ServerAbsent(Unavailable):
    """No workbench server runs, and a notebook works through one."""

    code = "server.absent"


class CellFailed(WorkbenchError):
    """A cell of the notebook failed."""

    code = "notebook.cell_failed"


class ResultTooLarge(Invalid):
    """The notebook's result is too large."""

    code = "notebook.result_too_large"


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells; reports each, stops between two, and keeps the job's token out of the outputs."""

    stop: StopRequest
    writer: MetricsWriter

    def execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        """Execute one cell."""
        self.stop.check()
        total = len(self.nb.cells)
        logger.info("Cell %d of %d", cell_index + 1, total)
        done = super().execute_cell(cell, cell_index, **options)
        self.writer.write(cell_index + 1, total, {})
        return done

    def process_message(self, msg: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """Take a message of the kernel into the notebook."""
        return super().process_message(without_token(msg), *arguments, **options)


class QueueEngine(Engine):  # type: ignore[misc]
    """Papermill's way to our client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, stop: StopRequest, writer: MetricsWriter, **_: Any
    ) -> None:
        """Execute the notebook in a kernel that ends with it."""
        client = Client(nb_man, kernel_name=kernel_name, startup_timeout=START_TIMEOUT, timeout=None)
        client.stop, client.writer = stop, writer
        with interrupting(client, stop):
            client.execute()


def work(attempt: Attempt, stop: StopRequest) -> None:
    """Execute the notebook; leaves it under the home, and `result.json`."""
    begun = time.monotonic()
    if "WORKBENCH_URL" not in os.environ:
        raise ServerAbsent("No workbench server runs in this home; start `workbench lab` and resume the job.")
    spec = NotebookSpec.model_validate(attempt.spec)
    if attempt.resume:
        logger.info("A notebook has no checkpoint: it starts over.")
        attempt.write("resume", {"step": 0})
    _keep_to_the_folder(attempt.folder)
    shutil.copy(attempt.resolve(spec.notebook_path), "notebook.ipynb")
    notebook = _execute(attempt, spec, stop)
    result = signature.result(notebook)
    if len(json.dumps(result)) > MAX_RESULT_BYTES:
        raise ResultTooLarge(f"The notebook's result is larger than {MAX_RESULT_BYTES >> 10} KB; show less of it.")
    path, sha256 = _keep(attempt)
    seconds = round(time.monotonic() - begun, 3)
    outcome = NotebookOutcome(notebook_path=path, notebook_sha256=sha256, result=result, seconds=seconds)
    attempt.write("result", outcome.model_dump(mode="json"))


def without_token(message: dict[str, Any]) -> dict[str, Any]:
    """Blot the job's token out of a message."""
    token = os.environ.get("WORKBENCH_TOKEN", "")
    text = json.dumps(message["content"], default=str)
    if not token or token not in text:
        return message
    return message | {"content": json.loads(text.replace(token, "[token]"))}


@contextmanager
def interrupting(client: Client, stop: StopRequest) -> Iterator[None]:
    """Interrupt the kernel, again and again, from the moment on that the worker is asked to stop."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(INTERRUPT_INTERVAL):
            if stop.made and (pid := _kernel_pid(client)) is not None:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGINT)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _kernel_pid(client: Client) -> int | None:
    provisioner = getattr(client.km, "provisioner", None)
    return getattr(provisioner, "pid", None)


def _keep_to_the_folder(folder: Path) -> None:
    """Let nothing of the user's own Jupyter into the kernel, and nothing of the kernel out of the attempt."""
    os.chdir(folder)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(folder / "runtime")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = str(folder / "ipython")


def _execute(attempt: Attempt, spec: NotebookSpec, stop: StopRequest) -> dict[str, Any]:
    papermill_engines.register(ENGINE, QueueEngine)
    try:
        with MetricsWriter(attempt.metrics, attempt.last_seq) as writer:
            done = execute_notebook(
                "notebook.ipynb",
                EXECUTED,
                parameters=spec.parameters,
                engine_name=ENGINE,
                kernel_name=KERNEL,
                language="python",
                progress_bar=False,
                stop=stop,
                writer=writer,
            )
    except PapermillExecutionError as error:
        stop.check()
        raise CellFailed(_reason(error)) from error
    except DeadKernelError as error:
        stop.check()
        raise CellFailed("The notebook's kernel died (was its memory used up?); the job's log says more.") from error
    return dict(done)


def _reason(error: Any) -> str:
    first = str(error.evalue).strip().partition("\n")[0][:REASON_LENGTH]
    return f"Cell [{error.exec_count}] failed with {error.ename}: {first.rstrip('.')}."


def _keep(attempt: Attempt) -> tuple[str, str]:
    """Put the executed notebook among the kept ones; return its path relative to the home, and its hash."""
    content = (attempt.folder / EXECUTED).read_bytes()
    path = attempt.home / "notebooks-executed" / f"{attempt.attempt_id}.ipynb"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return str(path.relative_to(attempt.home)), hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    leave(run_worker(work, sys.argv[1:]))
