"""Published training runs worked out again, and what agreement with them does not show."""

from __future__ import annotations

import dataclasses
import math
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HOURS_X_TDP = "hours x TDP"
TOLERANCE = 0.005
"""Relative difference that counts as reproduced, beside equality at the printed precision."""

BLOOM_IDLE_KWH = 256_646
BLOOM_G_PER_KWH = 57
BLOOM_HOURS = 1_082_990
BLOOM_SERVER_KG = 2500
BLOOM_GPU_KG = 150
BLOOM_GPUS_PER_SERVER = 8
BLOOM_LIFE_YEARS = 6
BLOOM_USE = 0.85
BLOOM_SOURCE = "Luccioni, Viguier, Ligozat 2022, arXiv:2211.02001"
HOURS_PER_YEAR = 365.25 * 24


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """One published run; NaN is not published, printed figures are kept as text.

    Attributes:
        model: Its name.
        kind: ``dense`` or ``moe``.
        parameters: All parameters.
        active_parameters: Those that work on a token; NaN of a dense model, or not stated.
        tokens: Training tokens.
        accelerator: What it ran on; empty where not stated.
        accelerators: How many.
        accelerator_hours: Hours of all together.
        rate_flop_per_s: Measured FLOPs a second of one.
        flops: Training FLOPs as printed.
        power_w: Power of one accelerator that the energy was worked out with.
        energy_basis: ``measured power``, ``measured energy``, ``hours x TDP``, ``not published``.
        energy_boundary: What the energy is of.
        pue: As published.
        g_per_kwh: Carbon intensity as published.
        printed_it_mwh: IT energy as printed.
        printed_mwh: Facility energy as printed.
        printed_tco2e: Emissions as printed.
        other_g_per_kwh: A second intensity (net of purchases), where there is one.
        other_printed_tco2e: Emissions printed for it.
        wue_l_per_kwh: Water factor as published, per kWh of facility energy.
        printed_water_kl: Water as printed.
        mfu_prior: Whether hours, tokens and parameters belong to the same pre-training.
        source: Paper or card.
        remark: What to know about it.
    """

    model: str
    kind: str
    parameters: float
    active_parameters: float
    tokens: float
    accelerator: str
    accelerators: float
    accelerator_hours: float
    rate_flop_per_s: float
    flops: float
    power_w: float
    energy_basis: str
    energy_boundary: str
    pue: float
    g_per_kwh: float
    printed_it_mwh: str
    printed_mwh: str
    printed_tco2e: str
    other_g_per_kwh: float
    other_printed_tco2e: str
    wue_l_per_kwh: float
    printed_water_kl: str
    mfu_prior: bool
    source: str
    remark: str

    @property
    def working_parameters(self) -> float:
        """Parameters that work on a token; NaN where a sparse model's are not stated."""
        return self.parameters if self.kind == "dense" else self.active_parameters


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One printed figure and what the same inputs give here.

    Attributes:
        model: Of which run.
        what: Which figure.
        printed: As printed.
        recomputed: From the published inputs.
        relative: Relative difference.
        reproduced: Within 0.5 %, or equal at the printed precision.
        basis: How the published energy came about.
        shows: What agreement shows, in words.
        source: Of the printed figure.
        remark: What to know about the run.
    """

    model: str
    what: str
    printed: str
    recomputed: float
    relative: float
    reproduced: bool
    basis: str
    shows: str
    source: str
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON knows it."""
        return dataclasses.asdict(self)


ARITHMETIC = "arithmetic on measured power; FLOPs were rate x time, so time is not predicted"
CIRCULAR = "arithmetic only: the published energy is itself hours x TDP, nothing is validated"
FACTORS = "factors only: the energy was measured and is taken as published"
IDLE = "factors only: idle power was measured at the site"
MIXED = "sum of hours x TDP, measured idle power and embodied"
INPUTS = "arithmetic on published manufacturing figures, a lower bound there"


def checks_of(run: Published) -> list[Check]:
    """Printed figures of a run that its published inputs are enough for.

    Emissions and water are worked out from the printed energy where there is one, so that its
    rounding is not carried into them.

    Returns:
        None, one or several checks.
    """
    shows = {HOURS_X_TDP: CIRCULAR, "measured power": ARITHMETIC}.get(run.energy_basis, FACTORS)
    found = []

    def check(what: str, printed: str, value: float) -> None:
        if printed and not math.isnan(value):
            one = compared(run.model, what, printed, value, run.energy_basis, shows, run.source)
            found.append(dataclasses.replace(one, remark=run.remark))

    it_mwh = recomputed_it_mwh(run)
    pue = 1.0 if math.isnan(run.pue) else run.pue
    check("IT energy, MWh", run.printed_it_mwh, it_mwh)
    check("energy, MWh", run.printed_mwh, it_mwh * pue)
    energy_mwh = it_mwh * pue
    if run.printed_mwh:
        energy_mwh = float(run.printed_mwh)
    elif run.printed_it_mwh:
        energy_mwh = float(run.printed_it_mwh) * pue
    if run.energy_basis == HOURS_X_TDP and not math.isnan(it_mwh):
        energy_mwh = it_mwh * pue
    check("emissions, tCO2e", run.printed_tco2e, energy_mwh * run.g_per_kwh / 1000)
    if run.other_g_per_kwh != run.g_per_kwh:
        net = energy_mwh * run.other_g_per_kwh / 1000
        check("emissions, net intensity, tCO2e", run.other_printed_tco2e, net)
    check("water, m3", run.printed_water_kl, energy_mwh * run.wue_l_per_kwh)
    return found


def bloom_checks() -> list[Check]:
    """The parts of BLOOM's footprint that are not its dynamic energy, and their sum."""
    per_hour = BLOOM_LIFE_YEARS * HOURS_PER_YEAR * BLOOM_USE
    idle_t = BLOOM_IDLE_KWH * BLOOM_G_PER_KWH / 1e6
    servers_t = BLOOM_SERVER_KG / per_hour * BLOOM_HOURS / BLOOM_GPUS_PER_SERVER / 1000
    gpus_t = BLOOM_GPU_KG / per_hour * BLOOM_HOURS / 1000
    dynamic_t = BLOOM_HOURS * 0.4 * BLOOM_G_PER_KWH / 1e6
    rows = (
        ("idle, tCO2e", "14.6", idle_t, "measured idle power", IDLE),
        ("embodied, tCO2e", "11.2", servers_t + gpus_t, "life-cycle figures", INPUTS),
        ("total, tCO2e", "50.5", dynamic_t + idle_t + servers_t + gpus_t, "mixed", MIXED),
    )
    return [
        compared("BLOOM-176B", what, printed, value, basis, shows, BLOOM_SOURCE)
        for what, printed, value, basis, shows in rows
    ]


def recomputed_it_mwh(run: Published) -> float:
    """IT energy from published time and power; NaN where they are not published.

    Time is FLOPs over the measured rate where both are published: days are printed rounded.
    """
    hours = run.accelerator_hours
    if run.flops > 0 and run.rate_flop_per_s > 0:
        hours = run.flops / run.rate_flop_per_s / 3600
    return hours * run.power_w / 1e6


def compared(
    model: str, what: str, printed: str, value: float, basis: str, shows: str, source: str
) -> Check:
    """Hold a value against a printed one.

    Example:
        >>> compared("a", "energy, MWh", "24.1", 24.16, "measured power", "", "").reproduced
        True
        >>> compared("a", "energy, MWh", "24.1", 25.0, "measured power", "", "").reproduced
        False
    """
    decimals = len(printed.partition(".")[2])
    relative = value / float(printed) - 1
    same = f"{value:.{decimals}f}" == printed
    return Check(
        model,
        what,
        printed,
        value,
        relative,
        same or abs(relative) <= TOLERANCE,
        basis,
        shows,
        source,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Prior:
    """Utilisation of published runs: 6 x active parameters x tokens over what the peak allows.

    Attributes:
        low: Smallest.
        mid: Median.
        high: Greatest.
        models: Of which runs.
    """

    low: float
    mid: float
    high: float
    models: tuple[str, ...]


def mfu_of(run: Published, peak_flop_per_s: float) -> float:
    """Model FLOPs utilisation of a published run by 6ND; NaN where something is not published.

    Attention over positions is not in it, so that it is a few per cent low at short sequences.
    """
    flops = 6 * run.working_parameters * run.tokens
    return flops / (run.accelerator_hours * 3600 * peak_flop_per_s)


def mfu_prior(runs: Iterable[Published], peaks: dict[str, float], kind: str) -> Prior:
    """Range and median of the utilisation of published runs of one kind."""
    found = {
        run.model: mfu_of(run, peaks[run.accelerator])
        for run in runs
        if run.kind == kind and run.mfu_prior
    }
    values = list(found.values())
    return Prior(min(values), median(values), max(values), tuple(found))


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """A measured energy beside what the estimate makes of size, tokens and hardware alone.

    Attributes:
        model: Which run; none is among the runs that the prior of the utilisation is from.
        measured_mwh: Energy as published, as far as its boundary goes.
        low_mwh: Estimate.
        mid_mwh: Estimate.
        high_mwh: Estimate.
        inside: Whether the measured one lies between low and high.
        boundary: What the published energy is of.
        source: Of the published energy.
        remark: What to know about it.
    """

    model: str
    measured_mwh: float
    low_mwh: float
    mid_mwh: float
    high_mwh: float
    inside: bool
    boundary: str
    source: str
    remark: str

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON knows it."""
        return dataclasses.asdict(self)
