"""What is printed at the end of a training: a few lines for people."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from greenai.live.tracker import Totals
    from greenai.settings import Settings

G_PER_KG = 1000
TENTHS_BELOW_W = 100
_TRUSTS = ("measured", "modelled", "assumed")


def summary_text(
    totals: Totals,
    settings: Settings,
    *,
    duration_s: float,
    folder: Path,
    rank: int = 0,
    world_size: int = 1,
) -> str:
    """Say in a few lines what a stage used, by which factors, and where its record is.

    Args:
        totals: What the sampler had settled at the end; NaN is said to be unknown.
        settings: Settings of the run.
        duration_s: How long it was metered, in seconds.
        folder: The run folder.
        rank: Global rank.
        world_size: Number of ranks.

    Returns:
        Lines of plain text.

    Example:
        >>> import pathlib
        >>> from greenai.live.shared import Totals
        >>> from greenai.settings import Settings
        >>> totals = Totals(energy_j=7200, steps_j=7000, known_tokens=1e6, steps=50, closed=True)
        >>> settings = Settings(country="FRA", pue=1.2)
        >>> print(summary_text(totals, settings, duration_s=60, folder=pathlib.Path("runs/a")))
        greenai: 7.20 kJ in 60.0 s, 120 W on average
          0.00700 J/token in 50 steps
          emissions unknown
          record: runs/a (greenai report runs/a)
    """
    lines = [f"greenai: {_energy(totals, duration_s)}"]
    if world_size > 1:
        lines[0] += f" on rank {rank} of {world_size}; the ranks are added up when they are loaded"
    if totals.steps != 0:
        lines.append(_work(totals))
    lines += [_emissions(totals, settings), *_trust(folder, rank)]
    if not totals.closed:
        lines.append("the end was not yet read when this was printed; it is in the record")
    lines.append(f"record: {folder} (greenai report {folder})")
    return "\n  ".join(lines)


def settled_figures(totals: Totals) -> dict[str, float]:
    """Name what is settled for a logger; what is unknown is left out.

    Returns:
        Joules, watts, grams and joules per token, with the step that they are settled to, and the
        end that is foreseen, in kWh, kg and money, each with its 95 % bounds; empty where none of
        them is known.

    Example:
        >>> from greenai.live.shared import Totals
        >>> settled_figures(Totals(energy_j=12.0, settled_step=49.0))
        {'greenai/energy_j': 12.0, 'greenai/settled_step': 49.0}
        >>> settled_figures(Totals(settled_step=49.0))
        {}
    """
    figures = {
        "greenai/energy_j": totals.energy_j,
        "greenai/power_w": totals.power_w,
        "greenai/operational_co2e_g": totals.operational_co2e_g,
        "greenai/j_per_token": totals.j_per_token,
        "greenai/forecast_low_kwh": totals.forecast_energy_low_j / J_PER_KWH,
        "greenai/forecast_kwh": totals.forecast_energy_j / J_PER_KWH,
        "greenai/forecast_high_kwh": totals.forecast_energy_high_j / J_PER_KWH,
        "greenai/forecast_co2e_low_kg": totals.forecast_co2e_low_g / G_PER_KG,
        "greenai/forecast_co2e_kg": totals.forecast_co2e_g / G_PER_KG,
        "greenai/forecast_co2e_high_kg": totals.forecast_co2e_high_g / G_PER_KG,
        "greenai/forecast_cost_low": totals.forecast_cost_low,
        "greenai/forecast_cost": totals.forecast_cost,
        "greenai/forecast_cost_high": totals.forecast_cost_high,
    }
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    if not known or not math.isfinite(totals.settled_step):
        return {}
    return {**known, "greenai/settled_step": totals.settled_step}


def _energy(totals: Totals, duration_s: float) -> str:
    if not math.isfinite(totals.energy_j):
        return "energy unknown: no sensor gave a value (greenai doctor says why)"
    text = f"{_joules(totals.energy_j)} in {duration_s:.1f} s"
    if duration_s > 0:
        power_w = totals.energy_j / duration_s
        text += f", {power_w:,.{0 if power_w >= TENTHS_BELOW_W else 1}f} W on average"
    return text


def _work(totals: Totals) -> str:
    # A sum of 0 tokens means that no step of known energy has said how many it had.
    known = math.isfinite(totals.j_per_token)
    per_token = f"{totals.j_per_token:#.3g}" if known else "unknown"
    steps = f"{totals.steps:.0f}" if math.isfinite(totals.steps) else "an unknown number of"
    return f"{per_token} J/token in {steps} steps"


def _emissions(totals: Totals, settings: Settings) -> str:
    grams, energy_j = totals.operational_co2e_g, totals.energy_j
    if not math.isfinite(grams) or not energy_j > 0:
        return "emissions unknown"
    intensity = grams / (energy_j / J_PER_KWH) / (settings.pue or 1.0)
    place = "-".join(part for part in (settings.country, settings.region) if part)
    grid = place or "world average: no country was given"
    if settings.intensity_file:
        grid = f"mean over the time, {Path(settings.intensity_file).name}"
    pue = f"PUE {settings.pue:g}" if settings.pue else "of the IT energy alone: no PUE was given"
    return f"{grams:.3g} gCO2e at {intensity:.0f} gCO2e/kWh ({grid}), {pue}"


def _trust(folder: Path, rank: int) -> list[str]:
    """Say which devices were measured, modelled and assumed, from the attempt's manifest."""
    manifests = sorted(
        folder.glob(f"rank-{rank}/attempt-*/manifest.json"), key=lambda path: path.stat().st_mtime
    )
    if not manifests:
        return []
    channels = json.loads(manifests[-1].read_text(encoding="utf-8")).get("channels", [])
    devices = {
        trust: sorted(
            {one["device"] for one in channels if one["primary"] and one["trust"] == trust}
        )
        for trust in _TRUSTS
    }
    said = [f"{trust}: {', '.join(names)}" for trust, names in devices.items() if names]
    return ["; ".join(said)] if said else []


def _joules(energy_j: float) -> str:
    for factor, unit in ((1e6, "MJ"), (1e3, "kJ")):
        if energy_j >= factor:
            return f"{energy_j / factor:.2f} {unit}"
    return f"{energy_j:.3g} J"
