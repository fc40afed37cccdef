"""The command `greenai impacts`: what a run's energy means, in lines or as JSON."""

from __future__ import annotations

from math import isnan
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.commands.factors import (
    Currency,
    DeviceNames,
    Ewif,
    Market,
    Price,
    PriceFile,
    Sources,
    Wue,
    factors_of,
)
from greenai.commands.intensity import IntensityFile, Service, Zone, intensity_of
from greenai.commands.terminal import (
    Country,  # noqa: TC001 - typer reads the annotations
    IntensityTable,  # noqa: TC001 - the same
    Pue,  # noqa: TC001 - the same
    PueSource,  # noqa: TC001 - the same
    Region,  # noqa: TC001 - the same
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.analysis.impacts import Impacts
    from greenai.analysis.ranges import Range


def impacts(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    pue_source: PueSource = None,
    intensity_table: IntensityTable = None,
    intensity_file: IntensityFile = None,
    intensity: Service = None,
    zone: Zone = None,
    market: Market = None,
    wue: Wue = None,
    ewif: Ewif = None,
    price: Price = None,
    price_file: PriceFile = None,
    currency: Currency = "",
    device: DeviceNames = None,
    source: Sources = None,
    parameters: Annotated[float | None, typer.Option(help="Of the model.")] = None,
    active_parameters: Annotated[float | None, typer.Option(help="That a token uses.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show carbon both ways, water, cost, hardware and SCI of a run: low, mid and high.

    What lacks a factor is unknown. The record is never changed.
    """
    from greenai.accounts import impacts_of  # noqa: PLC0415 - help must not wait for pandas
    from greenai.api import load  # noqa: PLC0415 - the same

    factors = factors_of(
        wue=wue,
        ewif=ewif,
        price=price,
        currency=currency,
        market=market,
        parameters=parameters,
        active_parameters=active_parameters,
        devices=device,
        price_file=price_file,
        sources=source,
    )
    series = intensity_of(run, intensity_file, intensity, zone, partial=False)
    loaded = load(
        run, country=country, region=region, pue=pue, pue_source=pue_source, intensity=series,
        intensity_table=intensity_table,
    )  # fmt: skip
    found = impacts_of(loaded, factors)
    if json:
        from json import dumps  # noqa: PLC0415 - for scripts only

        typer.echo(dumps(found.to_json(), indent=2, allow_nan=False, ensure_ascii=False))
        return
    for line in _lines(found):
        typer.echo(line)


def _lines(found: Impacts) -> Iterator[str]:
    rows = [
        ("IT energy", found.energy_kwh, "kWh"),
        ("at the meter", found.facility_kwh, "kWh"),
        ("location-based", found.location_based_g, "gCO2e"),
        ("market-based", found.market_based_g, "gCO2e"),
        ("embodied", found.embodied_g, "gCO2e"),
        ("water on site", found.water_on_site_l, "l"),
        ("water off site", found.water_off_site_l, "l"),
        *((f"SCI per {one.unit}", one.g_per_unit, "gCO2e") for one in found.sci),
        *((one.name, one.amount, "") for one in found.equivalences),
    ]
    for name, amount, unit in rows:
        yield f"{name + ':':<42}{_text(amount, unit)}"
    cost = "unknown" if isnan(found.cost) else f"{found.cost:.3g} {found.currency}"
    yield f"{'cost:':<42}{cost}".rstrip()
    yield ""
    yield from found.said


def _text(amount: Range, unit: str) -> str:
    if not amount.is_known:
        return "unknown"
    has_bounds = not isnan(amount.low) and amount.low < amount.high
    bounds = f" ({amount.low:.3g} to {amount.high:.3g})" if has_bounds else ""
    return f"{amount.mid:.3g} {unit}".rstrip() + bounds
