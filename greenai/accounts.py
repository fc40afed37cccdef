"""All that follows from a run's energy: its record joined with factors and the hardware's table."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from greenai.analysis.embodied import DEFAULT_LIFE, embodied_g
from greenai.analysis.impacts import Factors, Given, Impacts, energy_range_kwh, impacts
from greenai.analysis.prices import cost_of
from greenai.analysis.ranges import Range
from greenai.embodied import device_or_unknown
from greenai.energy_utc import energy_over
from greenai.merging import devices_counted, duration_s, energy_bounds_j
from greenai.shortfalls import length_ns
from greenai.units import NS_PER_S
from greenai.water import ewif

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.analysis.embodied import Device, Life
    from greenai.analysis.prices import PriceSeries
    from greenai.merging import Part
    from greenai.run import Run

S_PER_HOUR = 3600.0


def impacts_of(
    run: Run,
    factors: Factors | None = None,
    *,
    devices: Sequence[Device] | None = None,
    life: Life = DEFAULT_LIFE,
    prices: PriceSeries | None = None,
) -> Impacts:
    """Carbon both ways, water, money, hardware, SCI and comparisons of a run.

    Args:
        run: The run, with its country, PUE and intensity.
        factors: What the record cannot know; what is left out is unknown.
        devices: Hardware that the run used; None takes that of the factors, else its metered GPUs
            alone.
        life: For how long hardware serves.
        prices: Prices over time, in place of a flat one; None takes those of the factors.

    Returns:
        Low, mid and high of each, and every assumption in a sentence.

    Raises:
        OrderError: A factor is negative or no number.
    """
    given = _with_water(factors or Factors(), run.country)
    devices, prices = devices or given.devices or None, prices or given.prices
    emitted = run.footprint()
    low_j, high_j = energy_bounds_j(run.parts)
    energy_kwh = energy_range_kwh(emitted.energy_j, low_j, high_j, given.sensor_gain)
    made_g, said = _embodied(run.parts, devices, life)
    cost = None
    if prices is not None:
        energy_j = energy_over(run.parts, prices.edges_utc_ns)
        pue = 1.0 if emitted.pue is None else emitted.pue
        cost = cost_of(energy_j, emitted.energy_j, prices, pue)
        given = dataclasses.replace(given, currency=prices.currency or given.currency)
        hole = " A part of the energy has no price." if math.isnan(cost) else ""
        said.append(f"Prices over time, source: {prices.source}.{hole}")
    said.append("SCI: work that was trained again counts once in R; its energy is in O.")
    return impacts(emitted, energy_kwh, made_g, _work(run), given, cost=cost, said=said)


def _with_water(factors: Factors, country: str | None) -> Factors:
    """The factors with the tabled EWIF of the run's country where none was given."""
    tabled = ewif(country) if factors.ewif_l_per_kwh is None else None
    if tabled is None:
        return factors
    return dataclasses.replace(factors, ewif_l_per_kwh=Given(*tabled))


def _work(run: Run) -> dict[str, float]:
    """Work that counts: steps that a later attempt did again are not counted twice."""
    steps = run.summed_steps
    kept = ~steps["rolled_back"].astype(bool)
    columns = {"flop": "flops", "token": "tokens", "sample": "samples"}
    if not kept.any():
        return dict.fromkeys(columns, math.nan)
    return {unit: float(steps[name][kept].sum(skipna=False)) for unit, name in columns.items()}


def _embodied(
    parts: tuple[Part, ...], devices: Sequence[Device] | None, life: Life
) -> tuple[Range, list[str]]:
    """The run's share of making its hardware, and what is in it."""
    if devices is not None:
        hours = duration_s(parts) / S_PER_HOUR
        said = [f"Embodied: {one.count:g} {one.name}, {one.source}." for one in devices]
        return embodied_g(devices, hours, life), [*said, _about(life)]
    hours_of: dict[str, float] = {}
    for part, one in devices_counted(parts):
        if one.channel.kind == "gpu":
            model = one.channel.model or "a GPU of unknown model"
            hours = length_ns(part) / NS_PER_S / S_PER_HOUR
            hours_of[model] = hours_of.get(model, 0.0) + hours
    if not hours_of:
        return Range.unknown(), ["Embodied emissions are unknown: no hardware was named."]
    total, said = Range.exactly(0.0), []
    for model, hours in hours_of.items():
        device = device_or_unknown(model)
        total += embodied_g([device], hours, life)
        if device.made_kg.is_known:
            said.append(f"Embodied: {hours:.3g} hours of {model}, {device.source}.")
        else:
            said.append(f"Embodied emissions are unknown: {model}: {device.source}.")
    said.append("Embodied: GPUs alone; their servers, network and storage are not in it.")
    return total, [*said, _about(life)]


def _about(life: Life) -> str:
    use = "" if life.utilisation == 1 else f", used {life.utilisation:.0%} of the time"
    years = f"{life.years.low:g} to {life.years.high:g} years (mid {life.years.mid:g})"
    return f"Lifespan of hardware: {years}{use}; {life.source or 'given without a source'}."
