"""What a reader of a comparison must know before using its figures, in sentences."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from greenai.analysis.resampling import BLOCK_S, BLOCKS_ENOUGH
from greenai.analysis.target_loss import PREFIX, shared_losses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.analysis.comparable import RunFigures
    from greenai.analysis.comparison import Result
    from greenai.analysis.drift import PositionEffect

OUT_OF_BALANCE = 0.5
"""Places by which the variants' mean positions may differ before drift is a worry."""


def caveats(
    results: Sequence[Result],
    groups: Mapping[str, Sequence[RunFigures]],
    drift: PositionEffect,
    *,
    across_devices: bool,
    boards_differ: bool,
) -> tuple[str, ...]:
    """Say what the figures rest on, where that is not what a reader would take for granted.

    Args:
        results: Variants against the baseline.
        groups: Runs by variant, as they were compared.
        drift: Effect of a run's place in the order.
        across_devices: Whether unlike devices were allowed.
        boards_differ: Whether the runs were made on several boards.

    Returns:
        Sentences; none where there is nothing to say.
    """
    runs = [run for group in groups.values() for run in group]
    return (
        *_about_results(results),
        *_about_one_run_each(results),
        *_about_order(groups, drift),
        *_about_devices(runs, across_devices=across_devices, boards_differ=boards_differ),
        *_about_target(runs),
    )


def _about_results(results: Sequence[Result]) -> list[str]:
    said = []
    unpaired = [r.variant for r in results if not r.paired and not math.isnan(r.low)]
    if unpaired:
        said.append(
            f"{', '.join(unpaired)}: compared unpaired (Welch), since not every run shares its "
            "pair with one run of the other side."
        )
    if len(results) > 1:
        said.append(f"Verdicts are adjusted for {len(results)} comparisons by Holm's procedure.")
    modelled = [result.variant for result in results if result.reason == "modelled"]
    if modelled:
        said.append(
            f"{', '.join(modelled)}: less than half of the energy is measured. The rest is a model "
            "of time, so that only the time ratio gets a verdict."
        )
    return said


def _about_one_run_each(results: Sequence[Result]) -> list[str]:
    alone = [result for result in results if "one run each" in (result.reason, result.time_reason)]
    if not alone:
        return []
    names = ", ".join(result.variant for result in alone)
    if all(math.isnan(result.low) for result in alone):
        return [
            (
                f"{names}: one run each, too short to say how it scatters (that takes "
                f"{BLOCKS_ENOUGH} blocks of {BLOCK_S:g} s in each run). Repeat with other seeds."
            )
        ]
    return [
        (
            f"{names}: one run each. The interval is of these two runs, from blocks inside them; "
            "another seed or another day may lie outside. Repeat with other seeds."
        )
    ]


def _about_order(groups: Mapping[str, Sequence[RunFigures]], drift: PositionEffect) -> list[str]:
    """Warn where drift of the machine could pass for a difference between variants."""
    positions = {
        name: [run.position for run in runs if run.position is not None]
        for name, runs in groups.items()
    }
    if not all(positions.values()) or max(map(len, positions.values())) == 1:
        return []
    means = {name: fmean(places) for name, places in positions.items()}
    said = []
    if max(means.values()) - min(means.values()) > OUT_OF_BALANCE:
        listed = ", ".join(f"{name} {mean:.1f}" for name, mean in sorted(means.items()))
        said.append(
            f"The runs were not made in balanced order (mean position: {listed}): a drift of the "
            "machine is part of the ratio."
        )
    if drift.low > 0 or drift.high < 0:
        said.append(
            f"The machine drifted: energy changed by {100 * drift.per_place:+.2f} % (95 % interval "
            f"{100 * drift.low:+.2f} to {100 * drift.high:+.2f} %) with each place in the order."
        )
    return said


def _about_devices(
    runs: Sequence[RunFigures], *, across_devices: bool, boards_differ: bool
) -> list[str]:
    if across_devices:
        return [
            (
                "Unlike devices were allowed: their sensors' systematic errors, some 5 % each, are "
                "part of the ratio and not of its interval; a verdict must lie beyond them."
            )
        ]
    unknown = [run.name for run in runs if not run.devices]
    if unknown:
        return [
            (
                f"Devices unknown for {len(unknown)} of {len(runs)} runs: whether the machines are "
                "alike was not checked."
            )
        ]
    if not boards_differ:
        return []
    return [
        (
            "The runs were made on several boards of one model: their sensors' systematic errors, "
            "some 5 % each, are part of the ratio and not of its interval; a verdict must lie "
            "beyond them."
        )
    ]


def _about_target(runs: Sequence[RunFigures]) -> list[str]:
    if not any(unit.startswith(PREFIX) for run in runs for unit in run.amounts):
        return []
    said = [
        (
            "Energy to a loss counts every training step since the first, warm-up included, and "
            "no validation. The loss is that of the training batches, smoothed over 5 % of a run."
        )
    ]
    without = [run.name for run in runs if math.isnan(run.duration_s)]
    if without:
        shared = shared_losses([run.curve for run in runs if run.curve is not None])
        said.append(
            f"{', '.join(without)}: not passed, so that what it costs is unknown; leaving a run "
            f"out would flatter its variant. Compare {shared or '--per token or step instead'}."
        )
    return said
