"""What a training will cost before it runs, as a user asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenai.analysis.estimate import Estimate
    from greenai.planning.factors import Value

StrPath = str | os.PathLike[str]


def estimate(
    *,
    parameters: float | None = None,
    active_parameters: float | None = None,
    tokens: float | None = None,
    layers: int | None = None,
    heads: int | None = None,
    head_width: int | None = None,
    sequence: int | None = None,
    window: int | None = None,
    experts: int | None = None,
    experts_per_token: int | None = None,
    expert_parameters: float | None = None,
    accelerator: str | None = None,
    accelerators: int | None = None,
    accelerator_hours: Value | None = None,
    peak_flop_per_s: float | None = None,
    power_w: Value | None = None,
    mfu: Value | None = None,
    country: str | None = None,
    region: str | None = None,
    intensity_table: str | None = None,
    intensity_g_per_kwh: Value | None = None,
    pue: Value | None = None,
    wue_l_per_kwh: Value | None = None,
    ewif_l_per_kwh: Value | None = None,
    price_per_kwh: Value | None = None,
    price_per_hour: Value | None = None,
    currency: str = "",
    calibrate: StrPath | None = None,
) -> Estimate:
    """What a training will cost, before it runs.

    FLOPs over utilisation and peak rate are hours; hours times power are energy; the rest follows
    from the site's factors. Where nothing is given, published runs are the prior, and said.
    A value with a range is (low, mid, high).

    Args:
        parameters: All parameters.
        active_parameters: Those that work on one token; all where None.
        tokens: Training tokens.
        layers: Blocks; with the next three, for the attention term.
        heads: Attention heads of a block.
        head_width: Size of one head.
        sequence: Tokens of one sequence.
        window: Positions that one position sees; all before it where None.
        experts: Experts of a block.
        experts_per_token: Experts that one token goes to.
        expert_parameters: Parameters of one expert, summed over all blocks.
        accelerator: Name of the accelerator.
        accelerators: How many work at a time.
        accelerator_hours: Hours of all together, instead of working them out.
        peak_flop_per_s: Dense rate of one; of the table where None.
        power_w: Power of one with its share of the host, in watts.
        mfu: Model FLOPs utilisation, a share.
        country: ISO 3166 alpha-3 code; the world average, named, where None.
        region: State, province or zone of that country.
        intensity_table: As for ``load``.
        intensity_g_per_kwh: Carbon intensity, instead of a country's.
        pue: Site energy over IT energy; emissions are those of IT where None.
        wue_l_per_kwh: Water at the site per kWh of IT energy.
        ewif_l_per_kwh: Water at power stations per kWh of site energy.
        price_per_kwh: Price of a kWh.
        price_per_hour: Price of an accelerator-hour, its electricity in it.
        currency: Of the price.
        calibrate: Folder of a measured run whose J/FLOP takes the place of hours times power.

    Returns:
        Low, mid and high with every assumption; NaN is unknown.

    Raises:
        OrderError: Something is missing, negative, unknown or does not fit together.
        GridError: The country or the region is unknown.

    Example:
        >>> made = estimate(parameters=7e9, tokens=2e12, accelerator="A100", country="FRA")
        >>> made.mid.flops
        8.4e+22
        >>> made.low.it_energy_mwh < made.mid.it_energy_mwh < made.high.it_energy_mwh
        True

    Source: arXiv:2104.10350; priors from the table of published runs.
    """
    said = {name: value for name, value in locals().items() if name != "calibrate"}
    from greenai.api import load  # noqa: PLC0415 - which names this function among its own
    from greenai.planning import plan  # noqa: PLC0415 - tracking does not need the tables

    measured = None if calibrate is None else plan.calibration_of(load(calibrate))
    return plan.estimate_plan(plan.plan_of(calibrate=measured, **said))
