"""Options of the command line that name what a record cannot know: water, prices, a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from greenai.analysis.impacts import Factors, Given

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


def factors_of(
    *,
    wue: float | None,
    ewif: float | None,
    price: float | None,
    currency: str,
    market: float | None,
    parameters: float | None = None,
    active_parameters: float | None = None,
) -> Factors:
    """What was given on the command line, each with that as its source; the rest is unknown.

    Example:
        >>> factors_of(wue=0.5, ewif=None, price=None, currency="", market=None).wue_l_per_kwh
        Given(value=0.5, source='given on the command line')
    """
    from greenai.analysis.impacts import Factors, Given  # noqa: PLC0415 - loads numpy

    def given(value: float | None) -> Given | None:
        return None if value is None else Given(value, GIVEN)

    return Factors(
        wue_l_per_kwh=given(wue),
        ewif_l_per_kwh=given(ewif),
        price_per_kwh=given(price),
        currency=currency,
        market_g_per_kwh=given(market),
        parameters=parameters,
        active_parameters=active_parameters,
    )
