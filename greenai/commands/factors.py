"""Options of the command line that name what a record cannot know: water, prices, a contract."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.impacts import Factors

GIVEN = "given on the command line"

Wue = Annotated[
    float | None, typer.Option(help="Litres of water of the site per kWh of IT energy.")
]
Ewif = Annotated[float | None, typer.Option(help="Litres of water of generation per kWh.")]
Price = Annotated[float | None, typer.Option(help="Price of a kWh.")]
Currency = Annotated[str, typer.Option(help="Of the price.")]
Market = Annotated[
    float | None,
    typer.Option(
        "--market-g-per-kwh", help="Factor of the contract in g/kWh, for market-based emissions."
    ),
]
DeviceNames = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        help="Hardware for the embodied emissions, as NAME or N×NAME: '8×H100 SXM', server; "
        "several times; else the metered GPUs alone.",
    ),
]
PriceFile = Annotated[
    Path | None,
    typer.Option(help="CSV of prices over time: start_utc,end_utc,price_per_kwh."),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME=TEXT",
        help="Where a factor comes from, with its year: wue=, ewif=, price= or market= (the "
        "instrument); several times.",
    ),
]
SOURCED = ("wue", "ewif", "price", "market")


def factors_of(
    *,
    wue: float | None,
    ewif: float | None,
    price: float | None,
    currency: str,
    market: float | None,
    parameters: float | None = None,
    active_parameters: float | None = None,
    devices: list[str] | None = None,
    price_file: Path | None = None,
    sources: list[str] | None = None,
) -> Factors:
    """What was given on the command line, each with that as its source; the rest is unknown.

    Raises:
        OrderError: A device is unknown, a factor out of range, or a source of none that was given.
        GridError: The file of prices cannot be used.

    Example:
        >>> factors_of(wue=0.5, ewif=None, price=None, currency="", market=None).wue_l_per_kwh
        Given(value=0.5, source='given on the command line')
    """
    from greenai.analysis.impacts import Factors, Given  # noqa: PLC0415 - loads numpy
    from greenai.embodied import device  # noqa: PLC0415 - the same
    from greenai.intensity_file import read_prices  # noqa: PLC0415 - the same

    values = {"wue": wue, "ewif": ewif, "price": price, "market": market}
    said = _sources(sources or [], values)
    given = {
        name: None if value is None else Given(value, said.get(name, GIVEN))
        for name, value in values.items()
    }
    return Factors(
        wue_l_per_kwh=given["wue"],
        ewif_l_per_kwh=given["ewif"],
        price_per_kwh=given["price"],
        currency=currency,
        market_g_per_kwh=given["market"],
        parameters=parameters,
        active_parameters=active_parameters,
        devices=tuple(device(name, count) for count, name in map(_counted, devices or [])),
        prices=None if price_file is None else read_prices(price_file),
    )


def _sources(texts: list[str], values: Mapping[str, float | None]) -> dict[str, str]:
    """Sources by the factor that each is of."""
    found = {}
    for text in texts:
        name, _, source = text.partition("=")
        if name not in SOURCED or not source:
            near = difflib.get_close_matches(name, SOURCED, n=1)
            raise OrderError(
                f"--source {text[:80]!r} names no factor with its source.",
                "Nothing was worked out.",
                (f"did you mean {near[0]}=...? " if near else "")
                + f"Give one of {', '.join(SOURCED)}, = and a text",
            )
        if values[name] is None:
            raise OrderError(
                f"A source of {name} was given without its value.",
                "A source of nothing says nothing.",
                "give the value too, or leave the source out",
            )
        found[name] = source
    return found


def _counted(text: str) -> tuple[int, str]:
    """Number and name, as in ``8xH100 SXM`` or ``server``."""
    digits = len(text) - len(text.lstrip("0123456789"))
    if digits and text[digits : digits + 1] in {"x", "×", "*"}:
        return int(text[:digits]), text[digits + 1 :].strip()
    return 1, text
