"""What commands share: options about the site, and how they write to the terminal."""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

PIPED_WIDTH = 110
"""Columns where the output is no terminal and nothing else is asked for."""


class Across(enum.StrEnum):
    """What runs may be compared across, and an experiment go on across."""

    device = "device"


Country = Annotated[
    str | None,
    typer.Option(help="Country of the grid, ISO 3166 alpha-3; else as recorded, else the world."),
]
Region = Annotated[str | None, typer.Option(help="State, province or zone of that country.")]
Pue = Annotated[
    float | None, typer.Option(help="Facility energy divided by IT energy; else as recorded.")
]
PueSource = Annotated[
    str | None, typer.Option(help="Where that PUE comes from, with its year, for the report.")
]
IntensityTable = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.csv",
        help="Yearly intensities: newest, codecarbon, ember, or a CSV of yours with "
        "region,year,g_per_kwh,basis,signal,source; else as recorded, else newest.",
    ),
]


def console() -> Console:
    """Make the console that standard output is written with; wide where it is piped."""
    from rich.console import Console  # noqa: PLC0415 - loads slowly

    found = Console(highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, width=PIPED_WIDTH)
    return found


def say_files(files: Iterable[tuple[str, Path | str]], more: int = 0) -> None:
    """Name what was written, each on a line of its own that can be copied."""
    listed = list(files)
    if listed:
        typer.echo()
    for what, path in listed:
        typer.echo(f"{what + ':':<8}{path}")
    if more:
        typer.echo(f"        and {more} more")


def complain(text: str, style: str = "red") -> None:
    """Say on standard error what is wrong; no part of the text is taken for markup."""
    from rich.console import Console  # noqa: PLC0415 - loads slowly
    from rich.text import Text  # noqa: PLC0415 - the same

    Console(stderr=True, highlight=False).print(Text(text, style=style), soft_wrap=True)
