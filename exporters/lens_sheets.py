"""Why variants differ, in sheets: factors of the ratio, use of the devices, phases, routers."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean
from typing import TYPE_CHECKING

from greenai.exporters import quantities
from greenai.exporters.breakdown import PHASES
from greenai.exporters.sheets import Column, Sheet
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.analysis.efficiency import Decomposition
    from greenai.analysis.lens import Lens, LensRun
    from greenai.analysis.routing import RouterLoad

NAME_MAX = 40
SMALL_CHANGE = 0.02
"""A factor nearer to 1 than this is no cause worth naming."""

LOSSES = {
    "training": "mean of the last tenth of the logged training losses",
    "held-out": "on text that was not trained on",
}


def lens_sheets(lens: Lens) -> tuple[Sheet, ...]:
    """The sheets that have something to say, in report order."""
    sheets = (decomposition_sheet(lens), efficiency_sheet(lens), phase_sheet(lens))
    return tuple(one for one in (*sheets, router_sheet(lens)) if one is not None)


def decomposition_sheet(lens: Lens) -> Sheet | None:
    """The energy ratio of each variant as a product; None where FLOPs are unknown of all."""
    factors = lens.decompositions()
    if all(math.isnan(one.flops_ratio) for one in factors):
        return None
    rows = [
        (
            printable(one.variant, limit=NAME_MAX),
            quantities.ratio(one.energy_ratio),
            quantities.ratio(one.flops_ratio),
            quantities.ratio(one.j_per_flop_ratio),
            quantities.ratio(one.power_ratio),
            quantities.ratio(one.time_per_flop_ratio),
            cause_text(one),
        )
        for one in factors
    ]
    return Sheet(
        title="Doing less, or doing it better",
        columns=(
            Column("Variant", numeric=False),
            Column("Energy"),
            Column("= FLOPs"),
            Column("× J/FLOP"),
            Column("(power"),
            Column("× time/FLOP)"),
            Column("It", numeric=False),
        ),
        rows=tuple(rows),
        note=(
            f"Ratios to {printable(lens.baseline, limit=NAME_MAX)} per {lens.per}, of geometric "
            "means over all runs. FLOPs are the useful ones of the model, from its formula: what a "
            "kernel recomputes or masks makes J/FLOP larger."
        ),
    )


def cause_text(one: Decomposition) -> str:
    """Whether a variant does less or does it better, in words.

    Example:
        >>> from greenai.analysis.efficiency import Decomposition
        >>> cause_text(Decomposition("moe", 0.6, 0.4, 1.5, 1.0, 1.5))
        'does less, and does it worse'
        >>> cause_text(Decomposition("fused", 0.7, 1.0, 0.7, 1.4, 0.5))
        'does the same, and does it better'
    """
    if math.isnan(one.flops_ratio) or math.isnan(one.j_per_flop_ratio):
        return quantities.UNKNOWN
    amount = _compared(one.flops_ratio, "does less", "does more", "does the same")
    manner = _compared(one.j_per_flop_ratio, "does it better", "does it worse", "does it as well")
    return f"{amount}, and {manner}"


def efficiency_sheet(lens: Lens) -> Sheet:
    """What each variant made of its energy and of its devices."""
    found = lens.efficiencies()
    runs = lens.variants()
    energies = quantities.aligned([one.j_per_unit for one in found], "J")
    rows = [
        (
            printable(one.variant, limit=NAME_MAX),
            str(one.n),
            _count(_agreed([run.total_parameters for run in runs[one.variant]])),
            _count(_agreed([run.active_parameters for run in runs[one.variant]])),
            energy,
            _count(one.flop_per_unit),
            _count(one.flop_per_j),
            quantities.share(one.mfu),
            quantities.share(one.idle_share),
            quantities.decimal(mean_loss(runs[one.variant])),
        )
        for one, energy in zip(found, energies.texts, strict=True)
    ]
    titles = (
        f"{energies.unit}/{lens.per}", f"FLOPs/{lens.per}", "FLOP/J", "MFU", "Idle share",
        "Final loss",
    )  # fmt: skip
    return _without_unknown(
        Sheet(
            title="Use of the devices",
            columns=(
                Column("Variant", numeric=False),
                *map(Column, ("Runs", "Parameters", "Active", *titles)),
            ),
            rows=tuple(rows),
            note=(
                "MFU: useful FLOPs a second, of the devices' dense peak rate. Idle share: what the "
                "devices would have used at rest in the same time. Final loss: "
                f"{LOSSES[lens.loss_kind]}. What no run knows has no column."
            ),
        )
    )


def phase_sheet(lens: Lens) -> Sheet | None:
    """Share of the energy by phase; None where only one phase has any."""
    found = lens.efficiencies()
    names = [name for name in PHASES if any(one.phase_share.get(name, 0.0) != 0.0 for one in found)]
    if len(names) < 2:  # noqa: PLR2004 - one phase has all of it
        return None
    rows = [
        (
            printable(one.variant, limit=NAME_MAX),
            *(quantities.share(one.phase_share.get(name, math.nan)) for name in names),
        )
        for one in found
    ]
    columns = (Column("Variant", numeric=False), *(_phase_column(name) for name in names))
    return Sheet(
        "Energy by phase", columns, tuple(rows), note="Of whole runs, the warm-up included."
    )


def router_sheet(lens: Lens) -> Sheet | None:
    """How evenly the routers of each variant spread tokens, beside its energy; None without any."""
    routed = {
        name: loads
        for name, runs in lens.variants().items()
        if (loads := [run.router for run in runs if run.router is not None])
    }
    if not routed:
        return None
    energy_j = {one.variant: one.j_per_unit for one in lens.efficiencies()}
    energies = quantities.aligned([energy_j[name] for name in routed], "J")
    rows = [
        (printable(name, limit=NAME_MAX), energy, *_router_cells(loads))
        for (name, loads), energy in zip(routed.items(), energies.texts, strict=True)
    ]
    return Sheet(
        title="Routers",
        columns=(
            Column("Variant", numeric=False),
            Column(f"{energies.unit}/{lens.per}"),
            Column("Routers"),
            Column("Experts"),
            Column("Fullest / mean"),
            Column("Variation"),
            Column("Dropped"),
            Column("Balance loss"),
        ),
        rows=tuple(rows),
        note=(
            "Means over routers and runs. An even load is 1.00 times the mean with a variation of "
            "0; a balance loss of 1 is even."
        ),
    )


def mean_loss(runs: Sequence[LensRun]) -> float:
    """Mean final loss of some runs; NaN where one is unknown."""
    return fmean(run.loss for run in runs) if runs else math.nan


def _without_unknown(sheet: Sheet) -> Sheet:
    """Leave out the columns that are unknown all the way down."""
    kept = [
        place
        for place in range(len(sheet.columns))
        if any(row[place] != quantities.UNKNOWN for row in sheet.rows)
    ]
    return dataclasses.replace(
        sheet,
        columns=tuple(sheet.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in sheet.rows),
    )


def _router_cells(loads: Sequence[RouterLoad]) -> tuple[str, ...]:
    routers, experts = loads[0].share.shape
    return (
        str(routers) if routers else quantities.UNKNOWN,
        str(experts) if experts else quantities.UNKNOWN,
        quantities.decimal(fmean(one.imbalance for one in loads)),
        quantities.decimal(fmean(one.variation for one in loads)),
        quantities.share(fmean(one.drop_share for one in loads)),
        quantities.decimal(fmean(one.auxiliary_loss for one in loads)),
    )


def _compared(ratio: float, less: str, more: str, same: str) -> str:
    if abs(ratio - 1) < SMALL_CHANGE:
        return same
    return less if ratio < 1 else more


def _agreed(values: Sequence[float]) -> float:
    """The value that all runs have; NaN where they differ."""
    return values[0] if values and all(value == values[0] for value in values) else math.nan


def _count(amount: float) -> str:
    """A large count at three digits, with the prefix that reads well.

    Example:
        >>> _count(1_234_567.0), _count(7.4e10), _count(math.nan)
        ('1.23 M', '74.0 G', 'unknown')
    """
    if not math.isfinite(amount):
        return quantities.UNKNOWN
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= factor:
            return f"{quantities.decimal(amount / factor)} {prefix}"
    return quantities.decimal(amount)


def _phase_column(name: str) -> Column:
    text = PHASES[name]
    return Column(f"{text[0].upper()}{text[1:]}")
