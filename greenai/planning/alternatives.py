"""The same training elsewhere, on other accelerators, or of the other kind of model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from greenai.planning.plan import Plan, estimate_plan
from greenai.planning.tables import models

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.analysis.estimate import Estimate
    from greenai.analysis.transformer_flops import Architecture

REGIONS = ("SWE", "FRA", "DEU", "USA", "CHN", "IND", "POL")
"""Places shown by what-if unless others are named."""


def what_if(plan: Plan, regions: Iterable[str] = REGIONS) -> list[tuple[str, str, Estimate]]:
    """The same training elsewhere, on other accelerators, and of the other kind of model.

    Args:
        plan: What is planned.
        regions: Countries, or ``country/region``.

    Returns:
        What is changed, to what, and the estimate of it; all else is as planned. A measured run
        speaks for its own hardware and kind of model: neither is then changed.
    """
    found = []
    for place in regions:
        country, _, region = place.partition("/")
        other = dataclasses.replace(
            plan, country=country, region=region or None, intensity_g_per_kwh=None
        )
        found.append(("place", place, estimate_plan(other)))
    work = plan.architecture is not None and plan.accelerator_hours is None
    if not work or plan.calibration is not None:
        return found
    free = dataclasses.replace(plan, peak_flop_per_s=None, power_w=None)
    found.extend(
        ("accelerator", name, estimate_plan(dataclasses.replace(free, accelerator=name)))
        for name in models()
    )
    if plan.architecture is not None and not plan.architecture.is_sparse and plan.mfu is None:
        sparse = dataclasses.replace(plan, as_sparse=True)
        found.append(("model", "sparse with as many active parameters", estimate_plan(sparse)))
    found.extend(
        ("model", name, estimate_plan(dataclasses.replace(plan, architecture=architecture)))
        for name, architecture in _other_kinds(plan)
    )
    return found


def _other_kinds(plan: Plan) -> list[tuple[str, Architecture]]:
    """A sparse model's dense ones of its active and of its total size."""
    one = plan.architecture
    if one is None or not one.is_sparse:
        return []
    plain = {"experts": None, "experts_per_token": None, "expert_parameters": None}

    def dense(parameters: float) -> Architecture:
        return dataclasses.replace(one, parameters=parameters, active_parameters=None, **plain)

    return [
        (f"dense of its active size, {one.active:.3g}", dense(one.active)),
        (f"dense of its total size, {one.parameters:.3g}", dense(one.parameters)),
    ]
