"""The estimate before training: what the user gives, joined with tables and priors."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.estimate import Basis, Estimate, Factors
from greenai.analysis.estimate import estimate as estimate_factors
from greenai.analysis.transformer_flops import Architecture
from greenai.errors import OrderError
from greenai.planning import factors
from greenai.planning.tables import hardware, models

if TYPE_CHECKING:
    from greenai.planning.factors import Value
    from greenai.run import Run

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
    intensity_table: str | None = None
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
    flops = factors.flops(plan, notes)
    peak = factors.peak(plan, chosen)
    every = Factors(
        flops=flops,
        accelerator_hours=factors.given("accelerator-hours", plan.accelerator_hours, "worked out"),
        peak_flop_per_s=peak,
        mfu=factors.mfu(plan, flops, peak, notes),
        power_w=factors.power(plan, chosen, notes),
        j_per_flop=factors.calibrated(plan),
        accelerators=factors.given(
            "accelerators", plan.accelerators, "The number is not given: wall time is unknown."
        ),
        pue=factors.pue(plan),
        intensity_g_per_kwh=factors.intensity(plan, notes),
        embodied_g_per_hour=factors.embodied(chosen),
        wue_l_per_kwh=factors.given(
            "water at the site, L/kWh of IT", plan.wue_l_per_kwh, "Not given: not in the water."
        ),
        ewif_l_per_kwh=factors.ewif_of(plan),
        price_per_kwh=factors.given(
            "price per kWh", plan.price_per_kwh, "Not given: not in the cost."
        ),
        price_per_hour=factors.given(
            "price per accelerator-hour", plan.price_per_hour, "Not given: not in the cost."
        ),
    )
    return estimate_factors(every, notes=tuple(notes), currency=plan.currency)


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
