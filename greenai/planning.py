"""The estimate before training: what the user gives, joined with tables and priors."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from greenai import grid
from greenai.analysis.estimate import (
    Basis,
    Estimate,
    Factor,
    Factors,
    exact,
    unknown,
)
from greenai.analysis.estimate import estimate as estimate_factors
from greenai.analysis.transformer_flops import Architecture, attention_flops, parameter_flops
from greenai.errors import OrderError
from greenai.planning_tables import Hardware, hardware, models, prior

if TYPE_CHECKING:
    from greenai.run import Run

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
SERVER_KG = 2500.0
ACCELERATORS_PER_SERVER = 8
LIFE_YEARS = (6.0, 5.0, 3.0)
"""Long to short: BLOOM's paper, LLMCarbon, Boavizta's default."""
USE = (1.0, 0.85, 0.85)
"""Share of its life that hardware works: SCI divides by none, BLOOM's paper by 0.85."""
HOURS_PER_YEAR = 365.25 * 24
EMBODIED_SOURCE = (
    "accelerator: {}; an eighth of a server of 2500 kg (arXiv:2211.02001); life 6 / 5 / 3 years "
    "(arXiv:2211.02001, arXiv:2309.14393, Boavizta), in use 100 / 85 / 85 %"
)
PRIOR_HARDWARE = ("A100", "H100 SXM", "H800")
"""What the published runs that the utilisation is from ran on."""

MEASURED_MIN = 0.995
"""Share of a run's energy above which its J/FLOP is called measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """What one measured run says of the next: IT energy per FLOP.

    Attributes:
        low: Lower bound of its energy, over its FLOPs.
        mid: Joules per FLOP.
        high: Upper bound.
        source: Which run, of which boundary, and how far its energy was measured.
        basis: ``measured``, or ``assumed`` where a part of the energy is modelled or assumed.
    """

    low: float
    mid: float
    high: float
    source: str
    basis: Basis = "measured"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a user says of a training that has not run; see ``greenai.estimate`` for each field."""

    architecture: Architecture | None = None
    tokens: float | None = None
    accelerator: str | None = None
    accelerators: int | None = None
    accelerator_hours: Value | None = None
    peak_flop_per_s: float | None = None
    power_w: Value | None = None
    mfu: Value | None = None
    country: str | None = None
    region: str | None = None
    intensity_g_per_kwh: Value | None = None
    pue: Value | None = None
    wue_l_per_kwh: Value | None = None
    ewif_l_per_kwh: Value | None = None
    price_per_kwh: Value | None = None
    price_per_hour: Value | None = None
    currency: str = ""
    calibration: Calibration | None = None
    as_sparse: bool = False


def plan_of(
    *, calibrate: Calibration | None = None, parameters: float | None = None, **said: Any
) -> Plan:
    """A plan from plain values: those of the architecture and those of the plan in one.

    Raises:
        OrderError: Something of the model was given without its parameters.
    """
    names = [field.name for field in dataclasses.fields(Architecture) if field.name in said]
    model = {name: said.pop(name) for name in names}
    architecture = None
    if parameters is not None:
        architecture = Architecture(parameters, **model)
    elif given := [name for name, value in model.items() if value is not None]:
        raise OrderError(
            f"{given[0].replace('_', ' ')} was given without parameters.",
            "FLOPs cannot be worked out.",
            "give parameters and tokens too",
        )
    return Plan(architecture=architecture, calibration=calibrate, **said)


def estimate_plan(plan: Plan) -> Estimate:
    """What a planned training will cost.

    Raises:
        OrderError: Something is missing, negative or does not fit together.
        GridError: The country or the region is unknown.

    Example:
        >>> model = Architecture(7e9)
        >>> found = estimate_plan(Plan(architecture=model, tokens=2e12, accelerator="H100"))
        >>> found.low.energy_mwh < found.mid.energy_mwh < found.high.energy_mwh
        True
    """
    _check(plan)
    notes: list[str] = []
    chosen = hardware(plan.accelerator) if plan.accelerator is not None else None
    flops = _flops(plan, notes)
    peak = _peak(plan, chosen)
    factors = Factors(
        flops=flops,
        accelerator_hours=_given("accelerator-hours", plan.accelerator_hours, "worked out"),
        peak_flop_per_s=peak,
        mfu=_mfu(plan, flops, peak, notes),
        power_w=_power(plan, chosen, notes),
        j_per_flop=_calibrated(plan),
        accelerators=_given(
            "accelerators", plan.accelerators, "The number is not given: wall time is unknown."
        ),
        pue=_given("PUE", plan.pue, "No PUE was given: energy and emissions are those of IT."),
        intensity_g_per_kwh=_intensity(plan, notes),
        embodied_g_per_hour=_embodied(chosen),
        wue_l_per_kwh=_given(
            "water at the site, L/kWh of IT", plan.wue_l_per_kwh, "Not given: not in the water."
        ),
        ewif_l_per_kwh=_given(
            "water at power stations, L/kWh", plan.ewif_l_per_kwh, "Not given: not in the water."
        ),
        price_per_kwh=_given("price per kWh", plan.price_per_kwh, "Not given: not in the cost."),
        price_per_hour=_given(
            "price per accelerator-hour", plan.price_per_hour, "Not given: not in the cost."
        ),
    )
    return estimate_factors(factors, notes=tuple(notes), currency=plan.currency)


def calibration_of(run: Run) -> Calibration:
    """What one measured run says of the next: joules of its steps over their FLOPs.

    Args:
        run: A loaded run whose steps said their FLOPs.

    Raises:
        OrderError: Its energy or its FLOPs are unknown.
    """
    summary, steps = run.summary(), run.steps()
    known = steps[steps["energy_j"].notna() & steps["flops"].notna()]
    steps_j, flops = float(known["energy_j"].sum()), float(known["flops"].sum())
    if not (steps_j > 0 and flops > 0):
        missing = "FLOPs" if steps["flops"].isna().all() else "energy of its steps"
        raise OrderError(
            f"The {missing} of run {run.run_id} is unknown.",
            "It says nothing of joules per FLOP; no prior was taken instead.",
            "train with tracker.step(flops=...), or EnergyMonitor(flops_per_token=...)",
        )
    whole = summary["energy_j"]
    low, high = (
        1.0 if bound is None or not whole else bound / whole
        for bound in (summary["energy_low_j"], summary["energy_high_j"])
    )
    mid = steps_j / flops
    trust = summary["trust"]
    measured = trust.get("measured") or 0.0
    said = ", ".join(f"{share:.0%} {kind}" for kind, share in trust.items() if share)
    source = (
        f"{len(known)} steps of run {run.run_id}, {said}: energy of "
        f"{summary['energy_boundary']}; low and high are what its sensors leave open, not how "
        "another size or machine would differ; validation and checkpoints are not in it"
    )
    basis: Basis = "measured" if measured >= MEASURED_MIN else "assumed"
    return Calibration(mid * min(1.0, low), mid, mid * max(1.0, high), source, basis)


def _check(plan: Plan) -> None:
    if plan.tokens is not None and plan.architecture is None:
        raise OrderError(
            f"{plan.tokens:g} tokens were given without parameters.",
            "FLOPs, hours and energy cannot be worked out.",
            "give parameters (and active parameters of a sparse model), or accelerator-hours alone",
        )
    if plan.architecture is not None and plan.tokens is None:
        raise OrderError(
            f"{plan.architecture.parameters:g} parameters were given without tokens.",
            "FLOPs, hours and energy cannot be worked out; no number of tokens is assumed.",
            "give tokens, or accelerator-hours alone",
        )
    if plan.architecture is None and plan.accelerator_hours is None:
        raise OrderError(
            "Neither parameters and tokens nor accelerator-hours were given.",
            "There is nothing to estimate from.",
            "greenai estimate --parameters 7e9 --tokens 2e12 --accelerator H100",
        )
    for name in ("tokens", "accelerators", "peak_flop_per_s"):
        value = getattr(plan, name)
        if value is not None and not 0 < value < math.inf:
            raise OrderError(
                f"{name} is {value:g}.",
                "Nothing can be worked out with it.",
                f"give {name} above 0",
            )
    if plan.accelerator is None and plan.calibration is None and plan.power_w is None:
        raise OrderError(
            "No accelerator was given.",
            "Hours and energy cannot be worked out; none is assumed.",
            f"use one of {', '.join(models())}, or give peak FLOP/s and power, or a measured run",
        )
    found = (plan.accelerator, plan.peak_flop_per_s, plan.accelerator_hours, plan.calibration)
    if all(one is None for one in found):
        raise OrderError(
            "Power was given without hours or a rate.",
            "Hours and energy cannot be worked out; no rate is assumed.",
            "give accelerator-hours, an accelerator, or its peak FLOP/s",
        )
    if plan.price_per_kwh is not None and plan.price_per_hour is not None:
        raise OrderError(
            "A price per kWh and one per accelerator-hour were given.",
            "A rented hour contains its electricity: it would be paid twice.",
            "give one of the two",
        )


def _value(name: str, value: Value, basis: Basis = "given", source: str = "") -> Factor:
    low, mid, high = value if isinstance(value, tuple) else (value, value, value)
    if math.isnan(mid):
        raise OrderError(f"{name} is NaN.", "Nothing can be worked out with it.", "give a number")
    return Factor(name, low, mid, high, basis, source)


def _given(name: str, value: Value | None, absent: str) -> Factor:
    return unknown(name, absent) if value is None else _value(name, value)


def _flops(plan: Plan, notes: list[str]) -> Factor:
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


def _peak(plan: Plan, chosen: Hardware | None) -> Factor:
    name = "peak FLOP/s of one accelerator"
    if plan.peak_flop_per_s is not None:
        return exact(name, plan.peak_flop_per_s)
    if chosen is None:
        return unknown(name, "No accelerator was given: hours are unknown.")
    return exact(name, chosen.peak_flop_per_s, "tabled", f"{chosen.model}: {chosen.peak_source}")


def _mfu(plan: Plan, flops: Factor, peak: Factor, notes: list[str]) -> Factor:
    name = "MFU"
    if plan.accelerator_hours is not None:
        return _implied_mfu(plan.accelerator_hours, flops, peak)
    if plan.mfu is not None:
        return _value(name, plan.mfu)
    if not peak.known:
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


def _implied_mfu(given_hours: Value, flops: Factor, peak: Factor) -> Factor:
    """What FLOPs and hours say of the utilisation; refused where they cannot both be right."""
    hours = _value("accelerator-hours", given_hours)
    if not (flops.known and peak.known):
        return unknown("MFU", "Hours were given: it is not needed.")
    low, mid, high = (
        flops.mid / (one * 3600 * peak.mid) if one else math.inf
        for one in (hours.high, hours.mid, hours.low)
    )
    if high > 1:
        raise OrderError(
            f"{flops.mid:.3g} FLOPs in {hours.low:g} hours would be {high:.3g} times the peak.",
            "No accelerator does more than its dense rate: hours, parameters or tokens are wrong.",
            "check the three; give hours of all accelerators together",
        )
    return Factor("MFU", low, mid, high, "calculated", "FLOPs over hours and peak")


def _power(plan: Plan, chosen: Hardware | None, notes: list[str]) -> Factor:
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


def _calibrated(plan: Plan) -> Factor:
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


def _intensity(plan: Plan, notes: list[str]) -> Factor:
    name = "carbon intensity, g/kWh"
    if plan.intensity_g_per_kwh is not None:
        if plan.country is not None:
            raise OrderError(
                f"An intensity and a country ({plan.country}) were given.",
                "It is not clear which of the two is meant.",
                "give one of them",
            )
        return _value(name, plan.intensity_g_per_kwh)
    found = grid.intensity(plan.country, plan.region)
    basis: Basis = "tabled"
    source = f"{found.name} {found.year}, {found.basis}, yearly average: {found.source}"
    if found.is_world_average:
        basis = "assumed"
        notes.append(
            f"No country was given: the world average of {found.g_per_kwh:g} g/kWh was used."
        )
    return exact(name, found.g_per_kwh, basis, source)


def _embodied(chosen: Hardware | None) -> Factor:
    name = "embodied, g per accelerator-hour"
    if chosen is None or math.isnan(chosen.embodied_kg):
        model = "the accelerator" if chosen is None else chosen.model
        return unknown(name, f"No manufacturing figure of {model} is tabled: embodied is unknown.")
    kg = chosen.embodied_kg + SERVER_KG / ACCELERATORS_PER_SERVER
    low, mid, high = (
        1000 * kg / (years * HOURS_PER_YEAR * use)
        for years, use in zip(LIFE_YEARS, USE, strict=True)
    )
    source = EMBODIED_SOURCE.format(chosen.embodied_source)
    return Factor(name, low, mid, high, "assumed", source)
