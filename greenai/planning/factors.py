"""Each factor of an estimate: as given, else from a table or a prior, with its source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenai import grid
from greenai.analysis.embodied import DEFAULT_LIFE, HOURS_PER_YEAR
from greenai.analysis.estimate import Basis, Factor, exact, unknown
from greenai.analysis.transformer_flops import attention_flops, parameter_flops
from greenai.embodied import SERVER, device
from greenai.errors import OrderError
from greenai.planning.tables import Hardware, hardware, prior
from greenai.water import ewif

if TYPE_CHECKING:
    from greenai.planning.plan import Plan

Value = float | tuple[float, float, float]
"""One number, or low, mid and high."""

POWER_SHARE = (0.85, 1.10, 1.30)
"""Power of an accelerator with its host's share, over its TDP: H100 alone while it steps (over 600
of 700 W, arXiv:2503.05804), V100 system (330 of 300 W, arXiv:2104.10350), A100 nodes with their
network and storage (27 + 64 + 109 kW for 384 of 400 W, arXiv:2211.02001)."""
POWER_SOURCE = (
    "0.85 / 1.10 / 1.30 x TDP: H100 alone (arXiv:2503.05804), V100 with its host "
    "(arXiv:2104.10350), A100 with host, network and storage (arXiv:2211.02001)"
)
TDP_MIN_W = 300
"""The least TDP among the measurements that the shares are from."""
ACCELERATORS_PER_SERVER = 8
USE = (1.0, 0.85, 0.85)
"""Share of its life that hardware works: SCI divides by none, BLOOM's paper by 0.85."""
EMBODIED_SOURCE = (
    "accelerator of {:g} kg: {}; an eighth of a server of {:g} kg: {}; life {:g} / {:g} / {:g} "
    "years, {}, in use 100 / 85 / 85 %"
)
PRIOR_HARDWARE = ("A100", "H100 SXM", "H800")
"""What the published runs that the utilisation is from ran on."""


def _value(name: str, value: Value, basis: Basis = "given", source: str = "") -> Factor:
    low, mid, high = value if isinstance(value, tuple) else (value, value, value)
    if math.isnan(mid):
        raise OrderError(f"{name} is NaN.", "Nothing can be worked out with it.", "give a number")
    return Factor(name, low, mid, high, basis, source)


def given(name: str, value: Value | None, absent: str) -> Factor:
    """As the user gave it; unknown, with what that means, where not.

    Example:
        >>> given("PUE", None, "No PUE was given.").known
        False
    """
    return unknown(name, absent) if value is None else _value(name, value)


def pue(plan: Plan) -> Factor:
    """Site energy over IT energy; refused below 1, with the nearest valid value."""
    least = min(plan.pue) if isinstance(plan.pue, tuple) else plan.pue
    if least is not None and least < 1:
        raise OrderError(
            f"PUE is {least:g}.",
            "A site cannot draw less than its computers do; emissions would come out wrong.",
            "give facility energy divided by IT energy, at least 1",
        )
    return given("PUE", plan.pue, "No PUE was given: energy and emissions are those of IT.")


def flops(plan: Plan, notes: list[str]) -> Factor:
    """Training FLOPs of the plan; a missing attention term goes to the notes."""
    if plan.architecture is None or plan.tokens is None:
        return unknown("training FLOPs", "No parameters were given: FLOPs are unknown.")
    linear = parameter_flops(plan.architecture, plan.tokens)
    attention = attention_flops(plan.architecture, plan.tokens)
    if math.isnan(attention):
        notes.append(
            "Layers, heads, head width and sequence were not given: attention over positions is "
            "not in the FLOPs, which are a lower bound (some 8 % at 4k positions, more at longer)."
        )
        return exact("training FLOPs", linear, "calculated", "6 x active parameters x tokens")
    notes.append(f"Attention over positions is {attention / linear:.1%} of the other FLOPs.")
    source = "6 x active parameters x tokens + 12 x layers x heads x head width x positions seen"
    return exact("training FLOPs", linear + attention, "calculated", source)


def peak(plan: Plan, chosen: Hardware | None) -> Factor:
    """Dense rate of one accelerator."""
    name = "peak FLOP/s of one accelerator"
    if plan.peak_flop_per_s is not None:
        return exact(name, plan.peak_flop_per_s)
    if chosen is None:
        return unknown(name, "No accelerator was given: hours are unknown.")
    return exact(name, chosen.peak_flop_per_s, "tabled", f"{chosen.model}: {chosen.peak_source}")


def mfu(plan: Plan, work: Factor, rate: Factor, notes: list[str]) -> Factor:
    """Utilisation: what hours say, what the user says, else the prior of the kind of model."""
    name = "MFU"
    if plan.accelerator_hours is not None:
        return _implied_mfu(plan.accelerator_hours, work, rate)
    if plan.mfu is not None:
        return _value(name, plan.mfu)
    if not rate.known:
        return unknown(name, "No accelerator was given: hours are unknown.")
    sparse = plan.architecture is not None and plan.architecture.is_sparse
    kind = "moe" if sparse or plan.as_sparse else "dense"
    found = prior(kind)
    if kind == "moe":
        notes.append(
            "The utilisation of sparse models is that of three large ones; OLMoE (1B of 7B) took "
            "54 MWh, more than this prior's high gives for it. A measured run tells more."
        )
    if plan.accelerator is not None and hardware(plan.accelerator).model not in PRIOR_HARDWARE:
        notes.append(
            f"The utilisation is that of {', '.join(PRIOR_HARDWARE)}; none of "
            f"{hardware(plan.accelerator).model} is tabled."
        )
    source = (
        f"least, median and greatest of {len(found.models)} published {kind} runs by 6ND: "
        f"{', '.join(found.models)}"
    )
    return Factor(name, found.low, found.mid, found.high, "measured prior", source)


def _implied_mfu(given_hours: Value, work: Factor, rate: Factor) -> Factor:
    """What FLOPs and hours say of the utilisation; refused where they cannot both be right."""
    hours = _value("accelerator-hours", given_hours)
    if not (work.known and rate.known):
        return unknown("MFU", "Hours were given: it is not needed.")
    low, mid, high = (
        work.mid / (one * 3600 * rate.mid) if one else math.inf
        for one in (hours.high, hours.mid, hours.low)
    )
    if high > 1:
        raise OrderError(
            f"{work.mid:.3g} FLOPs in {hours.low:g} hours would be {high:.3g} times the peak.",
            "No accelerator does more than its dense rate: hours, parameters or tokens are wrong.",
            "check the three; give hours of all accelerators together",
        )
    return Factor("MFU", low, mid, high, "calculated", "FLOPs over hours and peak")


def power(plan: Plan, chosen: Hardware | None, notes: list[str]) -> Factor:
    """Power of one accelerator with its host, else the prior's shares of its TDP."""
    name = "power of one accelerator with its host, W"
    if plan.power_w is not None:
        return _value(name, plan.power_w)
    if chosen is None:
        return unknown(name, "No accelerator was given; the measured run's J/FLOP is used.")
    if chosen.tdp_w < TDP_MIN_W:
        notes.append(
            f"The host's share of the power is that of accelerators of {TDP_MIN_W} W and more: "
            f"beside {chosen.tdp_w:g} W a host weighs more, and the energy is too low."
        )
    low, mid, high = (share * chosen.tdp_w for share in POWER_SHARE)
    source = f"{POWER_SOURCE}; TDP {chosen.tdp_w:g} W: {chosen.tdp_source}"
    return Factor(name, low, mid, high, "measured prior", source)


def calibrated(plan: Plan) -> Factor:
    """Joules per FLOP of a measured run, where one was given."""
    name = "J/FLOP"
    if plan.calibration is None:
        return unknown(name, "No measured run was given: energy is hours x power.")
    if plan.architecture is None:
        raise OrderError(
            "A measured run was given, but no parameters and tokens.",
            "Its J/FLOP has no FLOPs to be multiplied with.",
            "give parameters and tokens",
        )
    one = plan.calibration
    return Factor(name, one.low, one.mid, one.high, one.basis, one.source)


def intensity(plan: Plan, notes: list[str]) -> Factor:
    """Carbon intensity as given, of the place, or of the world, which goes to the notes."""
    name = "carbon intensity, g/kWh"
    if plan.intensity_g_per_kwh is not None:
        if plan.country is not None:
            raise OrderError(
                f"An intensity and a country ({plan.country}) were given.",
                "It is not clear which of the two is meant.",
                "give one of them",
            )
        return _value(name, plan.intensity_g_per_kwh)
    found = grid.intensity(plan.country, plan.region, plan.intensity_table)
    basis: Basis = "tabled"
    source = f"{found.name} {found.year}, {found.basis}, yearly {found.signal}: {found.source}"
    if found.is_world_average:
        basis = "assumed"
        notes.append(
            f"No country was given: the world average of {found.g_per_kwh:g} g/kWh was used."
        )
    mid = found.g_per_kwh
    low, high = (
        mid if bound is None else bound for bound in (found.low_g_per_kwh, found.high_g_per_kwh)
    )
    return Factor(name, low, mid, high, basis, source)


def ewif_of(plan: Plan) -> Factor:
    """Water of generation as given, else of the country where the table has it."""
    name = "water at power stations, L/kWh"
    tabled = ewif(plan.country) if plan.ewif_l_per_kwh is None else None
    if tabled is not None:
        return exact(name, tabled.l_per_kwh, "tabled", tabled.source)
    return given(name, plan.ewif_l_per_kwh, "Not given: not in the water.")


def embodied(chosen: Hardware | None) -> Factor:
    """Making of an accelerator and of its share of a server, per hour."""
    name = "embodied, g per accelerator-hour"
    if chosen is None or not chosen.made_kg.is_known:
        model = "the accelerator" if chosen is None else chosen.model
        return unknown(name, f"No manufacturing figure of {model} is tabled: embodied is unknown.")
    server, served = device(SERVER), DEFAULT_LIFE.years
    kg = chosen.made_kg + server.made_kg.times(1 / ACCELERATORS_PER_SERVER)
    years = (served.high, served.mid, served.low)
    low, mid, high = (
        1000 * made_kg / (life * HOURS_PER_YEAR * use)
        for made_kg, life, use in zip((kg.low, kg.mid, kg.high), years, USE, strict=True)
    )
    source = EMBODIED_SOURCE.format(
        chosen.made_kg.mid, chosen.made_source, server.made_kg.mid, server.source, *years,
        DEFAULT_LIFE.source,
    )  # fmt: skip
    return Factor(name, low, mid, high, "assumed", source)
