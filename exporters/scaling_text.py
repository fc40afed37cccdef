"""What a scaling fit says, in sheets and sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenai.analysis.scaling import NAMES
from greenai.exporters import quantities
from greenai.exporters.sheets import Column, Sheet
from greenai.exporters.wording import printable
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from greenai.analysis.power_law import Interval
    from greenai.analysis.scaling import Scaling

FAR = 10.0
"""From this factor beyond the largest run an answer is more than an extrapolation: a guess."""
EXPLANATION = (
    "loss = irreducible + scale · x^-exponent, by least squares; 95 % intervals, by simulating the "
    "same sizes again with the scatter about the curve. They hold if the form is right, which "
    "the fit cannot tell."
)


def law_sheet(found: Scaling) -> Sheet:
    """One row a quantity that loss was fitted against."""
    rows = [
        (
            NAMES[name].capitalize(),
            f"{law.sizes} ({law.n})",
            _range(name, law.x_low, law.x_high),
            _with_interval(law.exponent, law.exponent_interval),
            _with_interval(law.irreducible, law.irreducible_interval),
            quantities.decimal(law.scatter),
        )
        for name, law in found.laws.items()
    ]
    return Sheet(
        title="Loss as a power law",
        columns=(
            Column("Against", numeric=False),
            Column("Sizes (runs)"),
            Column("From – to"),
            Column("Exponent"),
            Column("Irreducible loss"),
            Column("Scatter"),
        ),
        rows=tuple(rows),
        note=EXPLANATION,
    )


def answer_text(found: Scaling, loss: float) -> str:
    """What a loss costs on the runs' devices, in a sentence or two.

    Raises:
        ComparisonError: Energy has no law, or the law never reaches the loss.
    """
    cost = found.energy_to(loss)
    devices = printable(" + ".join(found.devices)) or "the runs' devices"
    low, high = (_kwh(end) for end in cost.interval)
    between = f"from {low} to {high}" if math.isfinite(cost.interval.high) else f"{low} or more"
    text = (
        f"A loss of {loss:g} would cost {_kwh(cost.amount)} on {devices} (95 % interval of the "
        f"curve: {between})."
    )
    law = found.laws["energy_j"]
    span = _range("energy_j", law.x_low, law.x_high)
    if cost.beyond == 1:
        return f"{text} The runs cover it: {span}."
    if cost.beyond < 1:
        return f"{text} That is less than the smallest run used ({span}): extrapolated."
    factor = quantities.decimal(cost.beyond)
    guess = " That far, the interval says little: it holds only if the law does." * (
        cost.beyond > FAR
    )
    return f"{text} Extrapolated: {factor} times the largest run ({span}).{guess}"


def footnotes(found: Scaling) -> tuple[str, ...]:
    """What a reader must know: what was not fitted, what was left out."""
    return tuple(printable(text, limit=600) for text in (*found.refused.values(), *found.notes))


def _with_interval(value: float, interval: Interval) -> str:
    low, high = (quantities.decimal(end) for end in interval)
    if not math.isfinite(interval.high):
        return f"{quantities.decimal(value)} ({low} or more)"
    return f"{quantities.decimal(value)} ({low} – {high})"


def _range(name: str, low: float, high: float) -> str:
    if name == "energy_j":
        return quantities.interval(low / J_PER_KWH * 1e3, high / J_PER_KWH * 1e3, "Wh")
    return f"{quantities.decimal(low)} – {quantities.decimal(high)}"


def _kwh(energy_j: float) -> str:
    """Energy in kWh, whatever its size: answers are compared with one another.

    Example:
        >>> _kwh(3.6e6), _kwh(1_800.0)
        ('1.00 kWh', '0.000500 kWh')
    """
    return f"{quantities.decimal(energy_j / J_PER_KWH)} kWh"
