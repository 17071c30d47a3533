"""The command `workbench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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


@app.command()
def login(
    home: HomeOption = None,
    url: Annotated[str | None, typer.Option(help="The server's URL; without it, the home's running server.")] = None,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")] = False,
) -> None:
    """Store a personal token, so that `workbench.connect()`, papermill and batches find the server by themselves."""
    from workbench import login as door

    door.login(settings_for(home).home, url, token_stdin)


@app.command()
def logout() -> None:
    """Revoke the token that `workbench login` stored, and remove it."""
    from workbench import login as door

    door.logout()


@app.command()
def batch(
    notebook: Annotated[Path | None, typer.Argument(help="The notebook to run.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A name and its value, read by its type.", metavar="NAME VALUE"),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to put the executed notebook.")] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job to its end.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
    show_templates: Annotated[bool, typer.Option("--list", help="Show the shipped templates.")] = False,
) -> None:
    """Run a parametrised notebook as a job of the queue, and fetch the executed notebook."""
    from workbench import batch as batches

    if show_templates:
        batches.listing(Console())
    elif notebook is None:
        raise typer.BadParameter("name a notebook, or give --list")
    else:
        batches.run(notebook, [pair(text) for text in parameters or []], output, wait=wait, as_json=as_json)


admin_app = typer.Typer(no_args_is_help=True, help="Accounts, without a server: for who owns the home.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log.")
app.add_typer(admin_app, name="admin")
app.add_typer(audit_app, name="audit")

EmailArgument = Annotated[str, typer.Argument(help="The person's mail address.")]
RoleOption = Annotated[str, typer.Option(help="reviewer, researcher, maintainer or admin.")]


@admin_app.command()
def create(
    email: EmailArgument,
    home: HomeOption = None,
    role: RoleOption = "admin",
    name: Annotated[str | None, typer.Option(help="How others see them; without it, the address's first part.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
) -> None:
    """Make an account, whose address counts as verified."""
    from workbench import administration

    administration.create(settings_for(home), email, role, name, password_stdin)


@admin_app.command()
def invite(email: EmailArgument = "", home: HomeOption = None, role: RoleOption = "researcher") -> None:
    """Print the link of an invitation, for one address when it is given."""
    from workbench import administration

    administration.invite(settings_for(home), email, role)


@admin_app.command("role")
def change_role(
    email: EmailArgument, role: Annotated[str, typer.Argument(help="The new role.")], home: HomeOption = None
) -> None:
    """Change an account's role."""
    from workbench import administration

    administration.change_role(settings_for(home), email, role)


@admin_app.command("rotate-keys")
def rotate_keys(home: HomeOption = None) -> None:
    """Sign access tokens with a new key; those of the last key hold until they expire."""
    from workbench import administration

    administration.rotate_keys(settings_for(home))


@audit_app.command("verify")
def verify_audit(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Follow the audit log's chain of hashes; the exit status is 0 only when it holds."""
    from workbench import administration

    administration.verify_audit(settings_for(home), as_json)


db_app = typer.Typer(no_args_is_help=True, help="The database: upgrade, back up, restore, verify, move.")
app.add_typer(db_app, name="db")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@db_app.command("upgrade")
def upgrade_database(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring the database to this version's revision; servers of the last version can go on meanwhile."""
    from workbench.maintenance import commands

    commands.upgrade(settings_for(home), as_json)


@db_app.command("transfer")
def transfer_database(
    to: Annotated[
        str, typer.Option(help="An empty database: postgresql://user@host/name.", envvar="WORKBENCH_TRANSFER_TO")
    ],
    home: HomeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, and write nothing.")] = False,
    switch: Annotated[
        bool, typer.Option("--switch", help="When all is equal, let this home use it from now on (settings.env).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the home's SQLite database to PostgreSQL and compare every table; run it again when it was broken off."""
    from workbench.maintenance import commands

    commands.move(settings_for(home), to, dry_run, switch, as_json)


@db_app.command("backup")
def back_up_database(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    home: HomeOption = None,
    objects: Annotated[bool, typer.Option("--objects", help="Put the stored files in, beside their hashes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a backup of one moment, while everything goes on."""
    from workbench.maintenance import commands

    commands.back_up(settings_for(home), file, objects, as_json)


@db_app.command("restore")
def restore_database(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    home: HomeOption = None,
    allow_damaged_objects: Annotated[
        bool, typer.Option("--allow-damaged-objects", help="Also when stored files are missing or were changed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the database by a backup, once everything in it was verified; the old one is kept."""
    from workbench.maintenance import commands

    commands.restore(settings_for(home), file, allow_damaged_objects, as_json)


@db_app.command("verify")
def verify_database(
    file: Annotated[Path | None, typer.Argument(help="A backup; without one, the newest.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a scratch place and compare everything; the exit status is 0 only when it holds."""
    from workbench.maintenance import commands

    commands.verify(settings_for(home), file, as_json)


def joined(arguments: Sequence[str]) -> list[str]:
    """Join the two words behind each `-p`, as papermill takes them, into one: typer lists take one word each."""
    words, found = iter(arguments), list[str]()
    for word in words:
        found.append(word)
        if word in ("-p", "--parameter") and (name := next(words, None)) is not None:
            value = None if "=" in name else next(words, None)
            found.append(name if value is None else f"{name}={value}")
    return found


def pair(text: str) -> tuple[str, str]:
    """Split `name=value`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter("-p takes a name and a value")
    return name, value


def main() -> None:
    """Run the command; a known error is one sentence on standard error and exit status 1."""
    arguments = sys.argv[1:]
    try:
        app(joined(arguments) if arguments[:1] == ["batch"] else arguments)
    except WorkbenchError as error:
        typer.echo(f"workbench: {error.detail}", err=True)
        sys.exit(1)
