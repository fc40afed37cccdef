"""What the energy of a run means: carbon both ways, water, money, hardware, SCI, comparisons."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.equivalences import equivalences
from greenai.analysis.ranges import Range
from greenai.errors import OrderError
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenai.analysis.embodied import Device
    from greenai.analysis.equivalences import Equivalence
    from greenai.analysis.footprint import Footprint
    from greenai.analysis.prices import PriceSeries

SENSOR_GAIN = 0.05
"""Assumed gain error of a sensor: some 5 % a board (Yang, Adamek, Armour, SC 2024)."""

STANDARD_UNITS = ("flop", "token", "parameter")
"""Functional units of the Provider score of SCI for AI; ``sample`` is our own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """A factor of the user's with where it comes from.

    Attributes:
        value: In the unit that its place says.
        source: Where it comes from; an empty one is said as not stated.
    """

    value: float
    source: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Factors:
    """What cannot be known from the record; all of it may be left out, and is then unknown.

    Attributes:
        market_g_per_kwh: Emission factor of the contract (certificates, PPA, residual mix).
        wue_l_per_kwh: Water that the site uses per kWh of IT energy.
        ewif_l_per_kwh: Water that generation uses per kWh of electricity.
        price_per_kwh: Price of a kWh at the meter.
        currency: Of the price.
        intensity_low_g_per_kwh: Lower bound on the intensity; None takes the intensity itself.
        intensity_high_g_per_kwh: Upper bound.
        sensor_gain: Systematic error of the sensors, as a share of the energy.
        parameters: Parameters of the model.
        active_parameters: Those that a token uses; None where all are.
        devices: Hardware that the run used; none named leaves its metered GPUs alone.
        prices: Prices over time, in place of a flat one.
    """

    market_g_per_kwh: Given | None = None
    wue_l_per_kwh: Given | None = None
    ewif_l_per_kwh: Given | None = None
    price_per_kwh: Given | None = None
    currency: str = ""
    intensity_low_g_per_kwh: float | None = None
    intensity_high_g_per_kwh: float | None = None
    sensor_gain: float = SENSOR_GAIN
    parameters: float | None = None
    active_parameters: float | None = None
    devices: tuple[Device, ...] = ()
    prices: PriceSeries | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            entry = getattr(self, field.name)
            value = entry.value if isinstance(entry, Given) else entry
            may_be_negative = field.name == "price_per_kwh"  # and has been, for hours
            if not isinstance(value, int | float):
                continue
            if not math.isfinite(value) or (value < 0 and not may_be_negative):
                raise OrderError(
                    f"{field.name} is {value:g}.",
                    "What follows from it would be wrong; nothing was worked out.",
                    "give a number of at least 0, or leave it out: it is then unknown",
                )
        if not self.sensor_gain < 1:
            raise OrderError(
                f"sensor_gain is {self.sensor_gain:g}.",
                "A sensor that may be wrong by its whole reading says nothing.",
                "give a share below 1, such as 0.05",
            )
        if self.active_parameters is not None and self.parameters is None:
            raise OrderError(
                "active_parameters were given without parameters.",
                "A share of an unknown number is unknown.",
                "give parameters too",
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Sci:
    """Software carbon intensity of training, (O + M) / R.

    Attributes:
        unit: What R counts: ``flop``, ``token``, ``parameter``, ``active_parameter``, ``sample``.
        amount: R.
        g_per_unit: (O + M) / R; unknown where the embodied emissions are.
        operational_g_per_unit: O / R, which is no SCI.
        is_standard: Whether SCI for AI knows the unit.
    """

    unit: str
    amount: float
    g_per_unit: Range
    operational_g_per_unit: Range
    is_standard: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Impacts:
    """All that follows from the energy of a run, as low, mid and high.

    Attributes:
        energy_kwh: IT energy.
        facility_kwh: IT energy times PUE; unknown without a PUE.
        location_based_g: Operational emissions by the grid's factor.
        market_based_g: Operational emissions by the contract's; unknown where none is claimed.
        embodied_g: Share of the hardware's making.
        water_on_site_l: Water used by the site.
        water_off_site_l: Water used by generation.
        cost: Price of the energy at the meter, in ``currency``. May be negative.
        currency: Of the cost.
        sci: Scores by functional unit.
        equivalences: Comparisons, to illustrate.
        said: What was assumed, given or left out, in sentences.
    """

    energy_kwh: Range
    facility_kwh: Range
    location_based_g: Range
    market_based_g: Range
    embodied_g: Range
    water_on_site_l: Range
    water_off_site_l: Range
    cost: float
    currency: str
    sci: tuple[Sci, ...]
    equivalences: tuple[Equivalence, ...]
    said: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values as JSON knows them; unknown is None."""
        return {field.name: _json(getattr(self, field.name)) for field in dataclasses.fields(self)}


def energy_range_kwh(
    energy_j: float, low_j: float, high_j: float, sensor_gain: float = SENSOR_GAIN
) -> Range:
    """IT energy with its hard bounds widened by the gain of the sensors.

    Args:
        energy_j: Energy, in joules.
        low_j: Hard lower bound; NaN where a part is no measurement.
        high_j: Hard upper bound, likewise.
        sensor_gain: Systematic error, as a share.

    Returns:
        kWh; low and high are NaN where the hard bounds are: a model has none.

    Example:
        >>> energy_range_kwh(3.6e6, 3.6e6, 7.2e6, 0.5)
        Range(low=0.5, mid=1.0, high=3.0)
    """
    return Range(
        low_j * (1 - sensor_gain) / J_PER_KWH,
        energy_j / J_PER_KWH,
        high_j * (1 + sensor_gain) / J_PER_KWH,
    )


def water_l(energy_kwh: Range, pue: float | None, factors: Factors) -> tuple[Range, Range]:
    """Water on site and off site, W = E_IT · WUE + E_IT · PUE · EWIF.

    WUE is litres per kWh of IT energy, so PUE does not enter the first term; a kWh that is
    generated serves the whole facility, so it enters the second.

    Args:
        energy_kwh: IT energy.
        pue: Power usage effectiveness; None leaves the second term unknown.
        factors: WUE and EWIF.

    Returns:
        Litres on site and off site; unknown where the factor is.

    Example:
        >>> given = Factors(wue_l_per_kwh=Given(0.5), ewif_l_per_kwh=Given(3.0))
        >>> on_site, off_site = water_l(Range.exactly(100.0), 1.25, given)
        >>> on_site.mid, off_site.mid
        (50.0, 375.0)

    Source: WUE as The Green Grid defines it; on site and off site as Li et al. 2023,
        arXiv:2304.03271.
    """
    wue, ewif = factors.wue_l_per_kwh, factors.ewif_l_per_kwh
    on_site = energy_kwh.times(math.nan if wue is None else wue.value)
    per_kwh = math.nan if ewif is None or pue is None else ewif.value * pue
    return on_site, energy_kwh.times(per_kwh)


def impacts(
    footprint: Footprint,
    energy_kwh: Range,
    embodied_g: Range,
    work: Mapping[str, float],
    factors: Factors,
    *,
    cost: float | None = None,
    said: Iterable[str] = (),
) -> Impacts:
    """Work out all that follows from the energy of a run.

    PUE enters the emissions, the cost and the off-site water, each once.

    Args:
        footprint: Location-based emissions with their factors.
        energy_kwh: IT energy with its bounds.
        embodied_g: The run's share of the hardware's making.
        work: Amounts by unit: ``flop``, ``token``, ``sample``; NaN or 0 is unknown.
        factors: What the record cannot know.
        cost: Cost by a price series; None takes the flat price.
        said: Sentences of whoever worked out the arguments.

    Returns:
        Low, mid and high of each; unknown where a factor is.
    """
    pue = footprint.pue
    overhead = Range.exactly(1.0 if pue is None else pue)
    intensity = _intensity(footprint, factors)
    location_g = energy_kwh * overhead * intensity
    market = factors.market_g_per_kwh
    market_g = energy_kwh * overhead * Range.exactly(math.nan if market is None else market.value)
    on_site_l, off_site_l = water_l(energy_kwh, pue, factors)
    price = factors.price_per_kwh
    flat = energy_kwh.mid * overhead.mid * (math.nan if price is None else price.value)
    amounts = dict(work)
    if factors.parameters is not None:
        amounts["parameter"] = factors.parameters
    if factors.active_parameters is not None:
        amounts["active_parameter"] = factors.active_parameters
    facility_kwh = energy_kwh.times(math.nan if pue is None else pue)
    return Impacts(
        energy_kwh=energy_kwh,
        facility_kwh=facility_kwh,
        location_based_g=location_g,
        market_based_g=market_g,
        embodied_g=embodied_g,
        water_on_site_l=on_site_l,
        water_off_site_l=off_site_l,
        cost=flat if cost is None else cost,
        currency=factors.currency,
        sci=scores(location_g, embodied_g, amounts),
        equivalences=equivalences(energy_kwh if pue is None else facility_kwh, location_g),
        said=(
            *footprint.assumptions,
            *_said(factors, footprint, priced=cost is not None, energy_kwh=energy_kwh),
            *said,
        ),
    )


def scores(
    operational_g: Range, embodied_g: Range, amounts: Mapping[str, float]
) -> tuple[Sci, ...]:
    """SCI of training by functional unit; a unit whose amount is unknown has none.

    Args:
        operational_g: O, location-based only; no certificate and no offset enters.
        embodied_g: M.
        amounts: R by unit.

    Returns:
        One score a unit, in the order given.

    Example:
        >>> (score,) = scores(Range.exactly(900.0), Range.exactly(100.0), {"token": 500.0})
        >>> score.g_per_unit.mid, score.operational_g_per_unit.mid, score.is_standard
        (2.0, 1.8, True)

    Source: ISO/IEC 21031:2024, SCI = (O + M) / R; units of SCI for AI (Provider).
    """
    return tuple(
        Sci(
            unit=unit,
            amount=amount,
            g_per_unit=(operational_g + embodied_g).times(1 / amount),
            operational_g_per_unit=operational_g.times(1 / amount),
            is_standard=unit.removeprefix("active_") in STANDARD_UNITS,
        )
        for unit, amount in amounts.items()
        if amount > 0
    )


def _intensity(footprint: Footprint, factors: Factors) -> Range:
    """The intensity with the bounds given, else its source's, else those of holes, else itself."""
    mid, over_time = footprint.intensity_g_per_kwh, footprint.over_time
    low, high = footprint.intensity_low_g_per_kwh, footprint.intensity_high_g_per_kwh
    if over_time is not None:
        low, high = over_time.low_g_per_kwh, over_time.high_g_per_kwh
    elif math.isnan(low) or math.isnan(high):
        low = high = mid
    given_low, given_high = factors.intensity_low_g_per_kwh, factors.intensity_high_g_per_kwh
    return Range(
        low if given_low is None else given_low, mid, high if given_high is None else given_high
    )


def _said(factors: Factors, footprint: Footprint, *, priced: bool, energy_kwh: Range) -> list[str]:
    """Name every factor with its source, and what is unknown for want of one."""
    pue = footprint.pue
    said = [f"Sensors are assumed to be right within {factors.sensor_gain:.0%}."]
    if energy_kwh.is_known and math.isnan(energy_kwh.high):
        said.append("A part of the energy is modelled or assumed: it has no bounds.")
    if pue is not None:
        said.append(f"PUE: {pue:g}, {_source(Given(pue, footprint.pue_source))}.")
    market = factors.market_g_per_kwh
    said.append(
        "Market-based: no instrument was claimed, so there is no such figure."
        if market is None
        else f"Market-based factor: {market.value:g} g/kWh, {_source(market)}."
    )
    for name, unit, given in (
        ("WUE", "l/kWh of IT energy", factors.wue_l_per_kwh),
        ("EWIF", "l/kWh of electricity", factors.ewif_l_per_kwh),
    ):
        said.append(
            f"No {name} was given: that part of the water is unknown."
            if given is None
            else f"{name}: {given.value:g} {unit}, {_source(given)}."
        )
    if factors.ewif_l_per_kwh is not None and pue is None:
        said.append("Without a PUE the water of generation is unknown.")
    price = factors.price_per_kwh
    if price is not None and not priced:
        said.append(f"Price: {price.value:g} {factors.currency}/kWh, {_source(price)}.")
    elif not priced:
        said.append("No price was given: the cost is unknown.")
    return said


def _source(given: Given) -> str:
    return f"source: {given.source}" if given.source else "given without a source"


def _json(value: Any) -> Any:
    if isinstance(value, Range):
        return value.to_json()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_json(inner) for inner in value]
    if dataclasses.is_dataclass(value):
        return {
            field.name: _json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return value
