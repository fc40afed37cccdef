"""The command ``greenai run``: any command, metered from outside."""

from __future__ import annotations

import math
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.commands.child import NOT_FOUND, Child, unusable
from greenai.commands.options import sensor_names
from greenai.commands.terminal import complain

if TYPE_CHECKING:
    from greenai.callbacks.plain import PlainTracker

START_S = 2.0
"""A sampler has published its first totals by then."""

FORWARDING = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}
"""Settings of click: all that follows the command's name belongs to the command."""


def run(
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="Program and arguments; no shell reads them."),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/{date}")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="What is compared: repeats of one thing share it.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="What the run belongs to.")] = None,
    country: Annotated[
        str | None, typer.Option(help="Country of the grid, ISO 3166 alpha-3; else the world.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="State, province or zone of that country.")
    ] = None,
    pue: Annotated[float | None, typer.Option(help="Facility energy over IT energy.")] = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="Use this one only; may be given several times.", show_default="all"),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="UUID of a GPU that the command uses.", show_default="visible ones"),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics there; 0 takes any free port.")
    ] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="Address of the endpoint.", show_default="loopback")
    ] = None,
) -> None:
    """Meter any command from outside, as in `greenai run -- python train.py`.

    The command has the terminal, standard input and output, the environment and the folder that
    this one has. Signals go through to it. The exit code is the command's: 128 and the number
    where a signal has ended it, 127 where it is not found, 126 where it is no program. What is
    said about the energy is said on standard error.

    From outside no steps are seen: the whole run is one span. A training that also meters itself
    writes a run of its own beside this one, which holds the same energy: do not add the two.
    """
    code = unusable(command)
    if code is not None:
        what = "is not found" if code == NOT_FOUND else "is not executable"
        complain(f"{command[0]} {what}: nothing was run and nothing metered.")
        raise typer.Exit(code)
    import greenai  # noqa: PLC0415 - help must not wait for it

    tracker = greenai.track(
        folder,
        variant=variant,
        project=project,
        country=country,
        region=region,
        pue=pue,
        sensors=sensor_names(sensor) or None,
        devices=device or None,
        metrics_port=metrics_port,
        metrics_address=metrics_address,
    ).start()
    code = Child(command).run()
    _finish(tracker)
    raise typer.Exit(code)


def _finish(tracker: PlainTracker) -> None:
    """End the record; a command that was shorter than the sampler's start has its record too."""
    give_up_s = time.monotonic() + START_S
    while math.isnan(tracker.totals().steps) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    tracker.stop()
    typer.echo(tracker.summary(), err=True)
