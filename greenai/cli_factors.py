"""Options of the command line that name factors: where, PUE, and the intensity over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from greenai.analysis.intensity import IntensitySeries

Country = Annotated[
    str | None,
    typer.Option(help="Country of the grid, ISO 3166 alpha-3; else as recorded, else the world."),
]
Region = Annotated[str | None, typer.Option(help="State, province or zone of that country.")]
Pue = Annotated[
    float | None, typer.Option(help="Facility energy divided by IT energy; else as recorded.")
]
IntensityFile = Annotated[
    Path | None,
    typer.Option(help="CSV of the intensity over time: start_utc,end_utc,g_per_kwh."),
]


def intensity_of(file: Path | None) -> IntensitySeries | None:
    """The intensity over time that was asked for; None where none was."""
    if file is None:
        return None
    from greenai.intensity_file import read_intensity  # noqa: PLC0415 - loads numpy

    return read_intensity(file)
