"""`workbench batch`: a parametrised notebook as a job of the queue, followed from the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from workbench import launch
from workbench.core.errors import Conflict, Invalid, NotFound, RemoteError
from workbench.jobs import signature
from workbench.jobs.client import JobFailed, JobHandle
from workbench.jobs.schemas import Message, MetricMessage
from workbench.session import Workbench, connect

DATA = "data"  # the parameter that may name a local file


class UnreadableNotebook(Invalid):
    """The notebook cannot be read."""

    code = "batch.unreadable"


class AlreadyUploaded(Conflict):
    """You already have a dataset of this name."""

    code = "batch.already_uploaded"


class BadOption(Invalid):
    """An option is not understood."""

    code = "batch.option"


class NoTemplates(NotFound):
    """The templates are not installed."""

    code = "batch.no_templates"


def run(notebook: Path, given: Sequence[tuple[str, str]], output: Path | None, *, wait: bool, as_json: bool) -> None:
    """Queue the notebook, and unless told otherwise follow it to its end and fetch what it became."""
    console = Console(stderr=as_json)
    content = read(notebook)
    known = signature.parameters(content)
    values = signature.parsed(known, _once(given))
    wb = connect()
    try:
        values = send_file(wb, known, values, console)
        job = wb.jobs.run_notebook(content, values, title=notebook.stem[:200])
        report: dict[str, Any] = {"job": job.id}
        if wait:
            target = output or Path(f"{notebook.stem}.{job.id}.ipynb")
            _follow(job, target, console)
            report |= {"notebook": str(target), "result": signature.result(read(target))}
    finally:
        wb.close()
    _show(report, console, as_json)


def listing(console: Console) -> None:
    """Print the shipped templates and their parameters."""
    for path in sorted(templates().glob("*.ipynb")):
        table = Table("parameter", "type", "default", "meaning", title=str(path), title_justify="left")
        for one in signature.parameters(read(path)):
            table.add_row(*(Text(cell) for cell in (one.name, one.type_name, one.default, one.help)))
        console.print(table)


def templates() -> Path:
    """Return the folder of the shipped templates: a checkout's, or the installed one."""
    folder = launch.shipped("templates")
    if not folder.is_dir():
        raise NoTemplates(f"The templates are not in {folder}; install the workbench again.")
    return folder


def read(path: Path) -> dict[str, Any]:
    """Read a notebook's JSON."""
    try:
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()
        if isinstance(content["cells"], list):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableNotebook(f"{path} cannot be read as a notebook.") from error
    raise UnreadableNotebook(f"{path} cannot be read as a notebook.")


def send_file(
    wb: Workbench,
    known: Sequence[signature.Parameter],
    values: Mapping[str, signature.Value],
    console: Console,
) -> dict[str, signature.Value]:
    """Upload the local file that `data` names, because the job runs on the server; return the values to send."""
    data = values.get(DATA)
    if not isinstance(data, str) or not _is_file(data):
        return dict(values)
    names = {one.name for one in known}
    options: dict[str, Any] = {"name": values.get("dataset_name")}
    if "test_fraction" in names and values.get("test_fraction") is not None:
        options["test_fraction"] = values["test_fraction"]
    try:
        dataset = wb.datasets.upload(data, **options)
    except RemoteError as error:
        if error.remote.code != "dataset.name_taken":
            raise
        message = f"{error.detail.rstrip('.')}; give its name as {DATA} to use it, or another dataset_name."
        raise AlreadyUploaded(message) from error
    console.print(Text(f"Uploaded {data} as the dataset “{dataset.name}”: {dataset.reading}"))
    return {**values, DATA: dataset.name}


def _is_file(data: str) -> bool:
    try:
        return Path(data).expanduser().is_file()
    except (OSError, RuntimeError):  # too long for a path, or the home of an unknown user: it names no file
        return False


def _once(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    texts = dict(given)
    if len(texts) != len(given):
        raise BadOption("A parameter was given twice.")
    return texts


def _follow(job: JobHandle, target: Path, console: Console) -> None:
    """Show the cells done; fetch the notebook also when it failed, then raise."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("queued", total=None)

            def show(message: Message) -> None:
                if isinstance(message, MetricMessage):
                    progress.update(task, description="cells", completed=message.step, total=message.total_steps)
                elif message.type == "state":
                    progress.update(task, description=message.job.state)

            job.wait(show)
    except KeyboardInterrupt:
        console.print(Text(f"The job {job.id} goes on. Follow it with workbench.connect().jobs[{job.id!r}].wait(),"))
        console.print(Text("and end it with .cancel() in place of .wait()."))
        raise typer.Exit(130) from None
    except JobFailed:
        _fetch_what_is_there(job, target, console)
        raise
    _fetch(job, target)


def _fetch(job: JobHandle, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(job.notebook(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _fetch_what_is_there(job: JobHandle, target: Path, console: Console) -> None:
    try:
        _fetch(job, target)
    except RemoteError as error:
        console.print(Text(error.detail))
    else:
        console.print(Text(f"The notebook as far as it came: {target}"))


def _show(report: dict[str, Any], console: Console, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report))
        return
    result = report.pop("result", None)
    facts = result if isinstance(result, dict) else {"result": result} if result is not None else {}
    table = Table(show_header=False)
    for name, value in (report | facts).items():
        table.add_row(Text(str(name)), Text(value if isinstance(value, str) else json.dumps(value)))
    console.print(table)
