"""The command ``greenai dashboards``: lists, prints and installs what is shipped for Grafana."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from greenai.commands.terminal import say_files

dashboards = typer.Typer(
    name="dashboards",
    help="Grafana dashboards and Prometheus rules: list, print, install.",
    invoke_without_command=True,
)


@dashboards.callback()
def _listed_by_default(context: typer.Context) -> None:
    """List, print and install Grafana dashboards and Prometheus rules.

    Import the JSON in Grafana by hand, or let it be provisioned from a folder. Any Prometheus data
    source will do: each dashboard asks for one.
    """
    if context.invoked_subcommand is None:
        list_()


@dashboards.command("list")
def list_() -> None:
    """Say what there is."""
    from greenai.dashboards import FILES  # noqa: PLC0415 - only where it is wanted

    for name, file in FILES.items():
        typer.echo(f"{name:<12}{file.what}")


@dashboards.command("print")
def print_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As listed: run, compare, fleet ...")],
) -> None:
    """Print one file, to be piped or pasted."""
    from greenai.dashboards import text_of  # noqa: PLC0415 - the same

    typer.echo(text_of(name), nl=False)


@dashboards.command("install")
def install_(
    folder: Annotated[
        Path, typer.Option("--dir", help="Folder that Grafana is provisioned from, or a new one.")
    ],
    servers: Annotated[
        bool,
        typer.Option(
            "--servers",
            help="Also the rules, and compose.yaml with all that Prometheus and Grafana need.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that were changed there.")
    ] = False,
) -> None:
    """Write the dashboards into a folder; what someone changed there is left alone.

    Files of an older greenai that nobody touched are replaced. Where one was changed, nothing is
    written and the exit code is 1.
    """
    from greenai.dashboards import DASHBOARDS, FILES, install  # noqa: PLC0415 - the same

    written = install(folder, FILES if servers else DASHBOARDS, force=force)
    say_files(("file", path) for path in written)
    if not written:
        typer.echo(f"{folder} holds them already.")
