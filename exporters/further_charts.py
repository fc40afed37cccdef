"""Plots of what the energy brought and cost: loss against it, emissions and intensity over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.lens import loss_curve
from greenai.exporters import quantities
from greenai.exporters.charts import Chart, Curve, floats, highest, thinned, time_scale

if TYPE_CHECKING:
    import pandas as pd

    from greenai.exporters.readable import ReadableRun

POINTS = 500
"""Points of a curve that only rises, or that changes by the hour."""
UNKNOWN_MAX = 0.05
"""Share of steps of unknown energy up to which the loss is drawn on; beyond, it reads too cheap."""
LEAST_POINTS = 2
"""With fewer there is no curve."""


def further_charts(run: ReadableRun) -> tuple[Chart, ...]:
    """Loss against energy, emissions over time, and the intensity where it changed.

    Args:
        run: The run.

    Returns:
        Those plots of which something is known.
    """
    steps = run.steps()
    steps = steps.iloc[np.argsort(floats(steps["end_s"]), kind="stable")]
    found = (_loss_against_energy(steps), _emissions(steps), _intensity(steps))
    return tuple(chart for chart in found if chart is not None)


def _loss_against_energy(steps: pd.DataFrame) -> Chart | None:
    kept = steps[~steps["rolled_back"].fillna(value=False).astype(bool)]
    energy_j = floats(kept["energy_j"])
    unknown = int((~np.isfinite(energy_j)).sum())
    note = " The curve ends where a step's energy is unknown."
    if 0 < unknown <= UNKNOWN_MAX * len(energy_j):  # such as the first step after a restart
        note = f" Not in the sum: {quantities.many(unknown, 'step')} of unknown energy."
        energy_j = np.nan_to_num(energy_j)
    spent_j, loss = loss_curve(energy_j, floats(kept["loss"]))
    if len(loss) < LEAST_POINTS or not np.isfinite(loss).any():
        return None
    factor, unit = quantities.scale(highest(spent_j), "J")
    return Chart(
        key="loss-against-energy",
        title="Training loss against energy",
        x_title=f"Energy of the steps so far ({unit})",
        y_title="Loss",
        curves=(thinned(Curve("loss", spent_j, loss), POINTS, factor),),
        summary=f"After {quantities.energy(float(spent_j[-1]))} the loss is "
        f"{quantities.decimal(float(loss[-1]))}.{note if unknown else ''}",
        from_zero=False,
    )


def _emissions(steps: pd.DataFrame) -> Chart | None:
    """Sum of the steps' emissions; a step of unknown emissions is a gap and adds nothing."""
    t_s, emitted_g = floats(steps["end_s"]), floats(steps["operational_co2e_g"])
    known = np.isfinite(emitted_g)
    if known.sum() < LEAST_POINTS:
        return None
    total_g = np.where(known, np.cumsum(np.where(known, emitted_g, 0.0)), np.nan)
    factor, unit = quantities.scale(highest(total_g), "g")
    second, time_unit = time_scale(highest(t_s))
    left_out = quantities.many(int((~known).sum()), "step")
    summary = f"The training steps emitted {quantities.mass(highest(total_g))} CO₂e."
    return Chart(
        key="cumulative-emissions",
        title="Cumulative emissions of the training steps",
        x_title=f"Time since the start ({time_unit})",
        y_title=f"Emissions ({unit} CO₂e)",
        curves=(thinned(Curve("emissions", t_s, total_g), POINTS, second, factor),),
        summary=summary if known.all() else f"{summary} Not in the sum: {left_out}.",
    )


def _intensity(steps: pd.DataFrame) -> Chart | None:
    """The intensity at the steps; none where it is one figure all along."""
    t_s, g_per_kwh = floats(steps["end_s"]), floats(steps["intensity_g_per_kwh"])
    known = g_per_kwh[np.isfinite(g_per_kwh)]
    if len(known) < LEAST_POINTS or known.min() == known.max():
        return None
    second, time_unit = time_scale(highest(t_s))
    breaks = np.flatnonzero(np.diff(floats(steps["attempt"]))) + 1  # nothing ran in between
    t_s, g_per_kwh = np.insert(t_s, breaks, t_s[breaks]), np.insert(g_per_kwh, breaks, np.nan)
    return Chart(
        key="intensity",
        title="Carbon intensity over time",
        x_title=f"Time since the start ({time_unit})",
        y_title="Intensity (gCO₂e/kWh)",
        curves=(thinned(Curve("intensity", t_s, g_per_kwh), POINTS, second),),
        summary=f"From {quantities.decimal(float(known.min()))} to "
        f"{quantities.decimal(float(known.max()))} gCO₂e/kWh.",
    )
