"""Energy turned into operational emissions, with every factor and assumption beside the result."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError
from greenai.units import emissions_g

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenai.analysis.intensity import IntensitySeries, Weighted

COMPONENTS = {"gpu": "GPU", "cpu": "CPU", "dram": "DRAM", "other": "other devices"}
"""Components that are metered apart, in report order, with their names for people."""
DIRECT_ONLY = "The intensity counts what power stations emit, not fuel supply and building."
MARGINAL = (
    "The intensity is marginal, that of one more kilowatt-hour: not comparable with averages."
)
NODE = "node"
"""The component of a meter that sees everything the node draws."""


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """Operational emissions of one run and all that they were worked out from.

    Attributes:
        energy_j: IT energy; NaN is unknown.
        pue: Power usage effectiveness of the site; None leaves emissions to the IT energy.
        facility_energy_j: IT energy times PUE; NaN where either is unknown.
        intensity_g_per_kwh: Carbon intensity of the electricity.
        intensity_source: Where the intensity comes from.
        intensity_year: The year that the intensity is about; None is unknown.
        intensity_basis: ``direct``, ``lifecycle`` or ``unknown``.
        place: Country, or country and region, of the intensity.
        operational_co2e_g: Grams of CO2 equivalent; NaN where the energy, or the intensity of a
            part of it, is unknown.
        boundary: Which devices the energy is of.
        assumptions: What was assumed or left out, in sentences; nothing is assumed silently.
        intensity_signal: ``average`` of all generation, or ``marginal``.
        intensity_fetched_utc: When a live service was asked; None is a table or a file.
        over_time: Shares of the energy by where its intensity comes from; None where the
            intensity is constant.
        pue_source: Where the PUE comes from, with its year; empty is not stated.
        intensity_low_g_per_kwh: Lower bound that the intensity's source gives; NaN is none.
        intensity_high_g_per_kwh: Upper bound, likewise.
    """

    energy_j: float
    pue: float | None
    facility_energy_j: float
    intensity_g_per_kwh: float
    intensity_source: str
    intensity_year: int | None
    intensity_basis: str
    place: str
    operational_co2e_g: float
    boundary: str
    assumptions: tuple[str, ...]
    intensity_signal: str = "average"
    intensity_fetched_utc: str | None = None
    over_time: Weighted | None = None
    pue_source: str = ""
    intensity_low_g_per_kwh: float = math.nan
    intensity_high_g_per_kwh: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON knows it; unknown is None."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.over_time is not None:
            shares = dataclasses.asdict(self.over_time)
            plain["over_time"] = {name: _json(value) for name, value in shares.items()}
        return {name: _json(value) for name, value in plain.items()}


def footprint(
    energy_j: float,
    intensity_g_per_kwh: float,
    *,
    source: str,
    place: str,
    year: int | None = None,
    basis: str = "unknown",
    signal: str = "average",
    bounds_g_per_kwh: tuple[float, float] = (math.nan, math.nan),
    world_average: bool = False,
    pue: float | None = None,
    pue_source: str = "",
    components: Iterable[str] = (),
    trust: Mapping[str, float] | None = None,
    coverage: float = 1.0,
) -> Footprint:
    """Operational emissions of an amount of IT energy.

    IT energy times PUE times intensity. PUE enters here and nowhere before, so that it is counted
    once and the record can be read again with another one.

    Args:
        energy_j: IT energy, in joules; NaN is unknown.
        intensity_g_per_kwh: Carbon intensity of the electricity, in gCO2e/kWh.
        source: Where the intensity comes from.
        place: Country, or country and region, of the intensity.
        year: The year that the intensity is about.
        basis: ``direct``, ``lifecycle`` or ``unknown``.
        signal: ``average`` of all generation, or ``marginal``.
        bounds_g_per_kwh: Low and high that the source gives the intensity; NaN is none.
        world_average: Whether the intensity stands in for a place that nobody named.
        pue: Facility energy divided by IT energy; None leaves emissions to the IT energy.
        pue_source: Where it comes from, with its year.
        components: Which of ``gpu, cpu, dram, other, node`` the energy is of.
        trust: Shares of the energy that are ``measured``, ``modelled`` and ``assumed``.
        coverage: Share of the run's time and devices that the energy is of; NaN is unknown.

    Returns:
        Emissions in grams with all factors; NaN where the energy is NaN.

    Raises:
        OrderError: PUE is below 1 or no number, or the energy or the intensity is negative.

    Example:
        >>> result = footprint(3_600_000, 56.0, source="a table", place="FRA", pue=1.25)
        >>> result.operational_co2e_g, result.facility_energy_j
        (70.0, 4500000.0)

    Source: ISO/IEC 21031 (SCI), O = E · I; PUE by ISO/IEC 30134-2.
    """
    _check(energy_j, intensity_g_per_kwh, pue)
    boundary = boundary_text(components)
    return Footprint(
        energy_j=energy_j,
        pue=pue,
        facility_energy_j=math.nan if pue is None else energy_j * pue,
        intensity_g_per_kwh=intensity_g_per_kwh,
        intensity_source=source,
        intensity_year=year,
        intensity_basis=basis,
        place=place,
        operational_co2e_g=emissions_g(energy_j, intensity_g_per_kwh, 1.0 if pue is None else pue),
        boundary=boundary,
        assumptions=tuple(
            _assumptions(energy_j, pue, boundary, trust or {}, coverage)
            + _about_intensity(
                intensity_g_per_kwh, year, basis, signal, bounds_g_per_kwh, world=world_average
            )
        ),
        intensity_signal=signal,
        pue_source="" if pue is None else pue_source,
        intensity_low_g_per_kwh=bounds_g_per_kwh[0],
        intensity_high_g_per_kwh=bounds_g_per_kwh[1],
    )


def footprint_over_time(
    energy_j: float,
    weighted: Weighted,
    series: IntensitySeries,
    *,
    filled_by: str = "",
    pue: float | None = None,
    pue_source: str = "",
    components: Iterable[str] = (),
    trust: Mapping[str, float] | None = None,
    coverage: float = 1.0,
) -> Footprint:
    """Operational emissions of IT energy under an intensity that changes with time.

    Args:
        energy_j: IT energy, in joules; NaN is unknown.
        weighted: The series' mean over that energy.
        series: The intensity.
        filled_by: Place, year and source of the yearly factor that fills holes, for people.
        pue: As in ``footprint``.
        pue_source: As in ``footprint``.
        components: As in ``footprint``.
        trust: As in ``footprint``.
        coverage: As in ``footprint``.

    Returns:
        Emissions in grams; NaN where a part of the energy has no intensity.

    Raises:
        OrderError: As from ``footprint``.
    """
    mean = weighted.g_per_kwh
    constant = footprint(
        energy_j,
        mean if math.isfinite(mean) else 0.0,
        source=series.source,
        place=series.place or "place not stated",
        basis=series.basis,
        pue=pue,
        pue_source=pue_source,
        components=components,
        trust=trust,
        coverage=coverage,
    )
    about_energy = _assumptions(energy_j, pue, constant.boundary, trust or {}, coverage)
    return dataclasses.replace(
        constant,
        intensity_g_per_kwh=mean,
        operational_co2e_g=emissions_g(energy_j, mean, 1.0 if pue is None else pue),
        intensity_signal=series.signal,
        intensity_fetched_utc=series.fetched_utc,
        over_time=weighted,
        assumptions=tuple(about_energy + _about_series(weighted, series, filled_by)),
    )


def boundary_text(components: Iterable[str]) -> str:
    """Which devices the energy is of, for people.

    Args:
        components: Any of ``gpu, cpu, dram, other, node``.

    Returns:
        Their names in report order; "only" wherever no meter saw the whole node.

    Raises:
        OrderError: A component has another name.

    Example:
        >>> boundary_text(["dram", "gpu", "cpu"])
        'GPU + CPU + DRAM only'
    """
    present = set(components)
    unknown = present - COMPONENTS.keys() - {NODE}
    if unknown:
        raise OrderError(
            f"Unknown component {min(unknown)!r}.", hint=f"use {', '.join(COMPONENTS)} or {NODE}"
        )
    if NODE in present:
        return "whole node"
    names = [name for component, name in COMPONENTS.items() if component in present]
    return f"{' + '.join(names)} only" if names else "nothing metered"


def _check(energy_j: float, intensity_g_per_kwh: float, pue: float | None) -> None:
    if pue is not None and not 1 <= pue < math.inf:
        raise OrderError(
            f"PUE is {pue:g}.",
            "A site cannot draw less than its computers do; emissions would come out wrong.",
            "give facility energy divided by IT energy, at least 1",
        )
    if energy_j < 0:
        raise OrderError(
            f"The energy is {energy_j:g} J.", "A run cannot give energy back.", "check the record"
        )
    if not 0 <= intensity_g_per_kwh < math.inf:
        raise OrderError(
            f"The carbon intensity is {intensity_g_per_kwh:g} g/kWh.",
            "Emissions cannot be worked out with it.",
            "give grams of CO2 equivalent per kWh, at least 0",
        )


def _assumptions(
    energy_j: float, pue: float | None, boundary: str, trust: Mapping[str, float], coverage: float
) -> list[str]:
    """Say what the energy leaves out and how it was come by."""
    said = []
    if math.isnan(energy_j):
        said.append("The energy is unknown, and so are the emissions.")
    if pue is None:
        said.append(
            "No PUE was given: the emissions are those of the IT energy, without cooling and "
            "power distribution."
        )
    if boundary.endswith("only"):
        said.append(
            f"The energy is that of {boundary}: fans, network, storage and losses of the power "
            "supply are not in it."
        )
    if coverage < 1:
        said.append(
            f"{coverage:.1%} of the run's time and devices are covered; the rest is unknown and "
            "not counted."
        )
    said += [
        f"{trust[kind]:.1%} of the energy is {kind}, not measured."
        for kind in ("modelled", "assumed")
        if trust.get(kind, 0.0) > 0
    ]
    return said


def _about_intensity(
    intensity_g_per_kwh: float,
    year: int | None,
    basis: str,
    signal: str,
    bounds_g_per_kwh: tuple[float, float],
    *,
    world: bool,
) -> list[str]:
    said = []
    if world:
        said.append(
            f"No country was given: the world average of {intensity_g_per_kwh:g} g/kWh was used."
        )
    when = "an unknown year" if year is None else str(year)
    said.append(f"The intensity is the average of {when}, constant over the run.")
    low, high = bounds_g_per_kwh
    if low <= high:
        said.append(f"Its source gives it a range of {low:g} to {high:g} g/kWh.")
    if signal == "marginal":
        said.append(MARGINAL)
    if basis == "direct":
        said.append(DIRECT_ONLY)
    if intensity_g_per_kwh == 0:
        said.append("The intensity is 0: the source counts none of the generation as emitting.")
    return said


def _about_series(weighted: Weighted, series: IntensitySeries, filled_by: str) -> list[str]:
    fetched = f", fetched {series.fetched_utc}" if series.fetched_utc else ""
    said = [
        (
            f"The intensity is that of {series.years} as it changed with time, weighted by the "
            f"energy ({series.signal}, {series.basis} basis{fetched})."
        )
    ]
    said += series.problems
    if weighted.estimated_share > 0:
        said.append(
            f"For {weighted.estimated_share:.1%} of the energy the intensity is a forecast or an "
            "estimate of its source."
        )
    if weighted.filled_share > 0:
        said.append(
            f"{weighted.filled_share:.1%} of the energy lies in holes of the intensity, which were "
            f"filled by the yearly factor: {filled_by}."
        )
    if weighted.open_share > 0:
        said.append(
            f"{weighted.open_share:.1%} of the energy has no intensity, and no yearly factor of "
            "the same basis and signal is known: the emissions stay unknown."
        )
    if series.signal == "marginal":
        said.append(MARGINAL)
    if series.basis == "direct":
        said.append(DIRECT_ONLY)
    return said


def _json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
