"""The command `workbench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.core.errors import WorkbenchError
from workbench.core.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder for everything the workbench writes.", envvar="WORKBENCH_HOME")
]
PortOption = Annotated[int, typer.Option(help="Port of the server; 0 takes a free one.")]


def settings_for(home: Path | None) -> Settings:
    """Return the settings, with the home given on the command line."""
    settings = Settings() if home is None else Settings(home=home.expanduser().resolve())
    settings.prepare_home()
    return settings


@app.command()
def lab(
    home: HomeOption = None,
    port: PortOption = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Start JupyterLab with the workbench on, in the home's `notebooks` folder."""
    from workbench import launch

    launch.lab(settings_for(home), port, browser)


@app.command()
def dashboards(
    home: HomeOption = None,
    port: PortOption = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Publish the home's dashboards to reviewers, by Voilà; a server of the home must be running."""
    from workbench import launch

    launch.dashboards(settings_for(home), port, browser)


@app.command()
def agent(home: HomeOption = None) -> None:
    """Run the agent, which plans the queue and runs its jobs, in the foreground."""
    from workbench import launch

    launch.agent(settings_for(home))


@app.command()
def stop(home: HomeOption = None) -> None:
    """Stop the server, the agent and every job of a home; running jobs go on at the next start."""
    from workbench import launch

    launch.stop(settings_for(home))


@app.command()
def demo(
    home: HomeOption = None,
    open_lab: Annotated[bool, typer.Option("--lab/--no-lab", help="Open JupyterLab on the result.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
    port: PortOption = 0,
) -> None:
    """Do the main job on a tiny offline model: data, training, comparison with the base."""
    from workbench import demo as demonstration

    demonstration.run(settings_for(home), open_lab=open_lab, as_json=as_json, port=port)


def main() -> None:
    """Run the command; a known error is one sentence on standard error and exit status 1."""
    try:
        app()
    except WorkbenchError as error:
        typer.echo(f"workbench: {error.detail}", err=True)
        sys.exit(1)
