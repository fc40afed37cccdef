"""Figures of several ranks side by side: which of them shows what, so that sums are the run's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.exporters.figures import Figures

OF_THE_RUN: dict[str, Any] = {
    **dict.fromkeys(("steps", "step_duration_s", "epoch", "global_step", "loss", "start_unix_s")),
    **dict.fromkeys(("energy_budget_j", "emissions_budget_g", "total_steps")),
    **dict.fromkeys(("intensity_g_per_kwh", "pue", "router_imbalance")),
    "router_load": (),
}
"""What every rank knows and is the run's, or a sample of it: rank 0 alone shows it."""
OF_ALL_DEVICES: dict[str, Any] = dict.fromkeys(
    ("emissions_g", "embodied_g", "step_energy_j", "forecast_energy_j", "forecast_emissions_g")
)
"""Sums over a rank's devices, unknown where one of them is another rank's."""


def counted_once(several: Iterable[Figures]) -> list[Figures]:
    """Leave each device to the lowest rank that sees it, and the run's own facts to rank 0.

    As merging does with a finished record: by identity and kind, within a run and an attempt.

    Args:
        several: Figures of any runs and ranks.

    Returns:
        Figures in the order of run, attempt and rank, of which a sum over ranks means something.

    Example:
        >>> from greenai.exporters.figures import DeviceFigures, Figures
        >>> cpu = DeviceFigures(device="cpu-0", kind="cpu", key="host/package-0", power_w=9.0)
        >>> ranks = [
        ...     Figures(run_id="a", attempt=0, rank=rank, devices=(cpu,), steps=9.0)
        ...     for rank in (1, 0)
        ... ]
        >>> [(one.rank, len(one.devices), one.steps) for one in counted_once(ranks)]
        [(0, 1, 9.0), (1, 0, None)]
    """
    seen: set[tuple[str, int, str, str]] = set()
    left = []
    for one in sorted(several, key=lambda one: (one.run_id, one.attempt, one.rank)):
        own = [
            device
            for device in one.devices
            if not device.key or (one.run_id, one.attempt, device.key, device.kind) not in seen
        ]
        seen.update(
            (one.run_id, one.attempt, device.key, device.kind)
            for device in own
            if device.energy_j_by_phase or device.power_w is not None
        )
        others = dict(OF_THE_RUN) if one.rank else {}
        if len(own) < len(one.devices):
            others = {**others, **OF_ALL_DEVICES}
        left.append(dataclasses.replace(one, devices=tuple(own), **others))
    return left
