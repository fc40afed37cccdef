"""What a training will cost, before it runs: low, mid and high, with every assumption."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from greenai.errors import OrderError

SECONDS_PER_HOUR = 3600
J_PER_MWH = 3.6e9
KWH_PER_MWH = 1000
G_PER_T = 1e6
KG_PER_T = 1000
L_PER_M3 = 1000

Basis = Literal["given", "tabled", "measured", "measured prior", "calculated", "assumed", "unknown"]
Corner = Literal["low", "mid", "high"]
CORNERS: tuple[Corner, ...] = ("low", "mid", "high")
_OPPOSITE: dict[Corner, Corner] = {"low": "high", "mid": "mid", "high": "low"}


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """One number that an estimate rests on, with where it comes from.

    Args:
        name: What it is, with its unit where it has one.
        low: Smallest value; NaN is unknown.
        mid: Central value.
        high: Greatest value.
        basis: ``given`` by the user, ``tabled``, ``measured`` in a run of the user's, a
            ``measured prior`` (measured in other runs), ``calculated``, ``assumed``, ``unknown``.
        source: Where the value comes from, or what its absence means.

    Raises:
        OrderError: A value is negative, or the three are not in order.

    Example:
        >>> Factor("PUE", 1.1, 1.2, 1.4, "given").at("high")
        1.4
    """

    name: str
    low: float
    mid: float
    high: float
    basis: Basis
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        values = (self.low, self.mid, self.high)
        if any(math.isnan(value) for value in values):
            if all(math.isnan(value) for value in values):
                return
        elif 0 <= self.low <= self.mid <= self.high < math.inf:
            return
        said = " - ".join(dict.fromkeys(f"{value:g}" for value in values))
        raise OrderError(
            f"{self.name} is {said}.",
            "Nothing can be worked out with it: it must be at least 0, and low <= mid <= high.",
            f"give another {self.name}",
        )

    def at(self, corner: Corner) -> float:
        """The value at one corner of the estimate."""
        return {"low": self.low, "mid": self.mid, "high": self.high}[corner]

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.mid)


def exact(name: str, value: float, basis: Basis = "given", source: str = "") -> Factor:
    """A factor without a range.

    Example:
        >>> exact("PUE", 1.2).low
        1.2
    """
    return Factor(name, value, value, value, basis, source)


def unknown(name: str, meaning: str) -> Factor:
    """A factor that nobody gave: what follows from it is NaN, never zero.

    Example:
        >>> unknown("price", "No price was given: the cost is unknown.").known
        False
    """
    return exact(name, math.nan, "unknown", meaning)


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What a training costs at one corner of the estimate; NaN is unknown.

    Attributes:
        flops: Training FLOPs of the model.
        accelerator_hours: Hours of all accelerators together.
        days: Wall time.
        it_energy_mwh: Energy of the accelerators with their hosts.
        energy_mwh: The same with the site's overhead; IT energy where no PUE is known.
        operational_tco2e: Emissions of that energy.
        embodied_tco2e: Share of making the hardware.
        water_m3: Water at the site and at the power stations, as far as factors are known.
        cost: Money, in the currency of the price.
    """

    flops: float
    accelerator_hours: float
    days: float
    it_energy_mwh: float
    energy_mwh: float
    operational_tco2e: float
    embodied_tco2e: float
    water_m3: float
    cost: float


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will cost, before it runs.

    Low takes every factor at its cheapest at once and high every factor at its dearest: they are
    bounds under the assumptions named, not an interval of confidence.

    Attributes:
        low: Every factor at its cheapest.
        mid: Every factor at its centre.
        high: Every factor at its dearest.
        assumptions: Every factor used or missing, with its basis and source.
        notes: What else is to be known, in sentences.
        currency: Of the cost; empty where none was given.
    """

    low: Figures
    mid: Figures
    high: Figures
    assumptions: tuple[Factor, ...]
    notes: tuple[str, ...] = ()
    currency: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values as JSON knows them; unknown is None."""
        return {
            **{corner: _plain(getattr(self, corner)) for corner in CORNERS},
            "assumptions": [_plain(factor) for factor in self.assumptions],
            "notes": list(self.notes),
            "currency": self.currency or None,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Factors:
    """All that an estimate is a function of; a missing one is ``unknown``.

    Attributes:
        flops: Training FLOPs.
        accelerator_hours: Hours, where they are given instead of worked out.
        peak_flop_per_s: Dense rate of one accelerator.
        mfu: Share of that rate that the model gets.
        power_w: Power of one accelerator with its share of the host.
        j_per_flop: IT energy per FLOP of a measured run; takes the place of hours times power.
        accelerators: How many work at a time.
        pue: Facility energy divided by IT energy.
        intensity_g_per_kwh: Carbon intensity of the electricity.
        embodied_g_per_hour: Making of the hardware, per accelerator-hour.
        wue_l_per_kwh: Water at the site, per kWh of IT energy.
        ewif_l_per_kwh: Water at the power stations, per kWh of facility energy.
        price_per_kwh: Money per kWh of facility energy.
        price_per_hour: Money per accelerator-hour.
    """

    flops: Factor
    accelerator_hours: Factor
    peak_flop_per_s: Factor
    mfu: Factor
    power_w: Factor
    j_per_flop: Factor
    accelerators: Factor
    pue: Factor
    intensity_g_per_kwh: Factor
    embodied_g_per_hour: Factor
    wue_l_per_kwh: Factor
    ewif_l_per_kwh: Factor
    price_per_kwh: Factor
    price_per_hour: Factor


def estimate(factors: Factors, *, notes: tuple[str, ...] = (), currency: str = "") -> Estimate:
    """What a training will cost.

    Hours = FLOPs / (MFU x peak); IT energy = hours x power, or FLOPs x J/FLOP where a run was
    measured; facility energy = IT energy x PUE; emissions = facility energy x intensity; water =
    IT energy x WUE + facility energy x EWIF.

    Args:
        factors: What it is worked out from.
        notes: Sentences to hand on.
        currency: Of the prices.

    Returns:
        Low, mid and high; NaN wherever a factor is unknown.

    Raises:
        OrderError: PUE is below 1, or the MFU is above 1.

    Source: arXiv:2104.10350, section 2; water as in arXiv:2304.03271.
    """
    _check(factors)
    low, mid, high = (_figures(factors, corner) for corner in CORNERS)
    values = (getattr(factors, field.name) for field in dataclasses.fields(factors))
    return Estimate(low, mid, high, tuple(values), notes, currency)


def _figures(factors: Factors, corner: Corner) -> Figures:
    """One corner. A fast accelerator is cheap: its rate is taken from the opposite end."""
    flops, hours = factors.flops.at(corner), factors.accelerator_hours.at(corner)
    if not factors.accelerator_hours.known:
        opposite = _OPPOSITE[corner]
        rate = factors.mfu.at(opposite) * factors.peak_flop_per_s.at(opposite)
        hours = flops / rate / SECONDS_PER_HOUR if rate > 0 else math.nan
    if factors.j_per_flop.known:
        energy_mwh = flops * factors.j_per_flop.at(corner) / J_PER_MWH
    else:
        energy_mwh = hours * factors.power_w.at(corner) * SECONDS_PER_HOUR / J_PER_MWH
    facility_mwh = energy_mwh * (factors.pue.at(corner) if factors.pue.known else 1.0)
    return Figures(
        flops=flops,
        accelerator_hours=hours,
        days=hours / factors.accelerators.mid / 24,
        it_energy_mwh=energy_mwh,
        energy_mwh=facility_mwh,
        operational_tco2e=facility_mwh
        * KWH_PER_MWH
        * factors.intensity_g_per_kwh.at(corner)
        / G_PER_T,
        embodied_tco2e=hours * factors.embodied_g_per_hour.at(corner) / G_PER_T,
        water_m3=_sum_known(
            energy_mwh * factors.wue_l_per_kwh.at(corner),
            facility_mwh * factors.ewif_l_per_kwh.at(corner),
        )
        * KWH_PER_MWH
        / L_PER_M3,
        cost=_sum_known(
            facility_mwh * KWH_PER_MWH * factors.price_per_kwh.at(corner),
            hours * factors.price_per_hour.at(corner),
        ),
    )


def _sum_known(first: float, second: float) -> float:
    """Sum of what is known; NaN where nothing is."""
    known = [value for value in (first, second) if not math.isnan(value)]
    return math.fsum(known) if known else math.nan


def _check(factors: Factors) -> None:
    if factors.pue.low < 1:
        raise OrderError(
            f"PUE is {factors.pue.low:g}.",
            "A site cannot draw less than its computers do; emissions would come out wrong.",
            "give facility energy divided by IT energy, at least 1",
        )
    if factors.mfu.high > 1:
        raise OrderError(
            f"The utilisation of the accelerators is {factors.mfu.high:.3g}.",
            "No accelerator does more than its dense rate: hours or FLOPs are wrong.",
            "check hours, parameters and tokens; MFU is a share between 0 and 1",
        )
    if factors.mfu.low == 0 or factors.accelerators.mid == 0:
        raise OrderError(
            "The utilisation or the number of accelerators is 0.",
            "The training would never end.",
            "give values above 0",
        )


def _plain(value: Any) -> dict[str, Any]:
    return {
        name: None if isinstance(item, float) and not math.isfinite(item) else item
        for name, item in dataclasses.asdict(value).items()
    }
