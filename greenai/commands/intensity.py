"""Options of the command line that name the intensity over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.errors import OrderError

if TYPE_CHECKING:
    from greenai.analysis.intensity import IntensitySeries

Service = Annotated[
    str | None,
    typer.Option(
        "--intensity",
        help="Service to ask for the intensity over time: electricitymaps, watttime, ukcarbon.",
    ),
]
Zone = Annotated[str | None, typer.Option(help="Zone as that service names it, such as FR.")]
IntensityFile = Annotated[
    Path | None,
    typer.Option(help="CSV of the intensity over time: start_utc,end_utc,g_per_kwh."),
]


def intensity_of(
    run: Path, file: Path | None, service: str | None, zone: str | None, *, partial: bool
) -> IntensitySeries | None:
    """The intensity over time that was asked for; None where none was.

    Raises:
        GridError: The file or the service has none, or a token is missing.
        OrderError: The options contradict one another.
    """
    if (file is not None and service is not None) or (service is None) != (zone is None):
        raise OrderError(
            "--intensity-file, --intensity and --zone do not go together so.",
            "The run was not computed anew.",
            "give --intensity-file FILE, or --intensity SERVICE with --zone ZONE",
        )
    if file is not None:
        from greenai.intensity_file import read_intensity  # noqa: PLC0415 - loads numpy

        return read_intensity(file)
    if service is None or zone is None:
        return None
    from greenai.energy_utc import span_utc_ns  # noqa: PLC0415 - loads pandas
    from greenai.record.reader import open_record  # noqa: PLC0415 - loads pyarrow
    from greenai.services import fetch  # noqa: PLC0415 - loads numpy

    return fetch(service, zone, *span_utc_ns(open_record(run, partial=partial)))
