"""Values of the command line's options: each is taken, or refused with what would do."""

from __future__ import annotations

import typer

from greenai.errors import ComparisonError, SensorError

SECONDS_MAX = 3600.0
"""No sensor is examined for longer."""


def span(seconds: float) -> float:
    """Refuse what is no span of time; NaN passes every bound that is compared with."""
    if not 0 < seconds <= SECONDS_MAX:
        raise typer.BadParameter(f"{seconds} is not between 0 and {SECONDS_MAX:g} seconds")
    return seconds


def unit(per: str) -> str:
    """Refuse what is neither a unit of work nor a loss."""
    from greenai.analysis.comparable import UNITS  # noqa: PLC0415 - help must not wait for it
    from greenai.analysis.target_loss import target_of  # noqa: PLC0415 - loads numpy

    try:
        known = per in UNITS or target_of(per) is not None
    except ComparisonError as error:
        raise typer.BadParameter(f"{error.what} {error.hint}") from None
    if not known:
        raise typer.BadParameter(f"{per!r} is none of {', '.join(UNITS)}, loss:X")
    return per


def sensor_names(names: list[str] | None) -> list[str]:
    """Refuse a sensor that nobody knows; none named is an empty list."""
    from greenai.sensors import check_names  # noqa: PLC0415 - only this command names sensors

    try:
        check_names(names or [])
    except SensorError as error:
        raise typer.BadParameter(f"{error.what} {error.hint}") from None
    return names or []
