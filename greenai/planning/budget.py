"""Size and tokens for a loss, or for a budget of energy or emissions."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.allocation import NOTES, Allocation, best_for_flops, flops_for_loss
from greenai.analysis.transformer_flops import Architecture
from greenai.errors import OrderError
from greenai.planning.plan import estimate_plan

if TYPE_CHECKING:
    from greenai.analysis.estimate import Factor, Figures
    from greenai.planning.plan import Plan

PROBE = Architecture(1e9)
PROBE_TOKENS = 20e9
"""Any size does: energy, emissions and hours are proportional to FLOPs."""

UNUSED = (
    "training FLOPs",
    "accelerators",
    "embodied, g per accelerator-hour",
    "water at the site, L/kWh of IT",
    "water at power stations, L/kWh",
    "price per kWh",
    "price per accelerator-hour",
)
"""Factors of an estimate that size, tokens, energy and emissions do not rest on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """One corner of the answer: what to train, and what it takes.

    Attributes:
        corner: ``low``, ``mid`` or ``high``.
        best: Size, tokens and loss.
        energy_kwh: Site energy where a PUE is known, else IT energy.
        operational_kg: Emissions of it.
        accelerator_hours: Hours of all accelerators; NaN is unknown.
    """

    corner: str
    best: Allocation
    energy_kwh: float
    operational_kg: float
    accelerator_hours: float


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The energy-optimal training.

    Attributes:
        asked: What was asked for, in words.
        choices: Three corners; of a budget low is the least that it buys, of a loss the cheapest.
        assumptions: What joules per FLOP and emissions rest on.
        notes: What else is to be known.
    """

    asked: str
    choices: tuple[Choice, ...]
    assumptions: tuple[Factor, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values as JSON knows them; unknown and infinite are None."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def best_plan(
    plan: Plan,
    *,
    target_loss: float | None = None,
    budget_kwh: float | None = None,
    budget_kg: float | None = None,
) -> Best:
    """The dense model that reaches a loss with the least energy, or the best one of a budget.

    Args:
        plan: Hardware and site, without a model.
        target_loss: Loss in nats a token.
        budget_kwh: Energy of the site where the plan has a PUE, else of IT.
        budget_kg: Operational emissions.

    Returns:
        Size, tokens, loss, energy and emissions at three corners.

    Raises:
        OrderError: Not exactly one of the three was asked, it is out of range, or the plan has a
            model already.

    Example:
        >>> from greenai.planning.plan import Plan
        >>> best = best_plan(Plan(accelerator="H100"), budget_kwh=100_000.0)
        >>> [choice.corner for choice in best.choices]
        ['low', 'mid', 'high']
    """
    asked = {"loss": target_loss, "kWh": budget_kwh, "kg CO2e": budget_kg}
    given = {unit: value for unit, value in asked.items() if value is not None}
    if len(given) != 1:
        raise OrderError(
            f"{len(given)} of target loss, budget in kWh and budget in kg were given.",
            "It is not clear what is to be reached.",
            "give exactly one of them",
        )
    if plan.architecture is not None or plan.tokens is not None or plan.accelerator_hours:
        raise OrderError(
            "A loss or a budget was given with a model, tokens or hours.",
            "Size and tokens are what is to be found.",
            "leave parameters, tokens and hours out",
        )
    [(unit, value)] = given.items()
    probe = estimate_plan(dataclasses.replace(plan, architecture=PROBE, tokens=PROBE_TOKENS))
    corners = {"low": probe.low, "mid": probe.mid, "high": probe.high}
    if target_loss is not None:
        flops = dict(zip(corners, flops_for_loss(target_loss), strict=True))
        choices = tuple(_choice(name, flops[name], corners[name]) for name in corners)
    else:
        choices = tuple(
            _choice(name, _bought(value, unit, corners[at]), corners[at])
            for name, at in (("low", "high"), ("mid", "mid"), ("high", "low"))
        )
    text = f"a budget of {value:,g} {unit}"
    if target_loss is not None:
        text = f"a loss of {target_loss:g} nats a token"
    notes = tuple(note for note in probe.notes if not note.startswith("Layers"))
    used = tuple(one for one in probe.assumptions if one.name not in UNUSED)
    return Best(text, choices, used, (*notes, *NOTES))


def _bought(budget: float, unit: str, figures: Figures) -> float:
    """FLOPs that a budget pays for."""
    if not 0 < budget < math.inf:
        raise OrderError(
            f"The budget is {budget:g} {unit}.", "Nothing can be trained.", "give one above 0"
        )
    spent = figures.energy_mwh if unit == "kWh" else figures.operational_tco2e
    if not spent > 0:
        raise OrderError(
            f"A FLOP takes {spent:g} {unit} by the factors given.",
            "The budget buys any number of them.",
            "give a budget in kWh, or an intensity above 0",
        )
    return budget / (spent * 1000) * figures.flops


def _choice(corner: str, flops: float, figures: Figures) -> Choice:
    if math.isinf(flops):
        nothing = Allocation(math.inf, *(math.nan,) * 9, extrapolated=True)
        return Choice(corner, nothing, math.inf, math.inf, math.inf)
    times = flops / figures.flops
    return Choice(
        corner=corner,
        best=best_for_flops(flops),
        energy_kwh=figures.energy_mwh * 1000 * times,
        operational_kg=figures.operational_tco2e * 1000 * times,
        accelerator_hours=figures.accelerator_hours * times,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
