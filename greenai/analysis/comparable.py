"""What a comparison knows of a run, and the checks that runs must pass to be compared."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import TYPE_CHECKING, Literal

from greenai.errors import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.analysis.resampling import Block
    from greenai.analysis.target_loss import LossCurve

UNITS = ("token", "sample", "step", "flop", "active_flop")
"""Work that energy and time may be counted per."""
Field = Literal["energy_j", "duration_s", "above_idle_j"]
"""What of a run is compared."""
TRUST = ("measured", "modelled", "assumed")
MEASURED_ENOUGH = 0.5
"""Share of the energy that must be measured; the rest is mostly time times a constant, and says
of a ratio of energies what the ratio of times says."""
COVERED_ENOUGH = 0.95
"""Share of a run that its energy must be of; below it the gap may be larger than the difference."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunFigures:
    """What a comparison needs to know of one run.

    Attributes:
        run_id: Identity of the run; a run counts once.
        variant: What is compared: repeats of one thing share it.
        energy_j: IT energy of the work below; NaN is unknown.
        duration_s: Time of the same work; NaN is unknown.
        amounts: Work done, by unit: any of ``token`` (without padding), ``sample``, ``step``,
            ``flop`` (as counted in the steps), ``active_flop`` (of the parameters and positions
            that a token uses).
        trust: Shares of the energy that are ``measured``, ``modelled`` and ``assumed``.
        pair: What the run shares with one run of every other variant, as its repeat or seed;
            from the manifest, never from the order of folders. None is nothing.
        seed: What its random numbers began with; None is unknown.
        devices: Models of the devices that the energy is of; empty is unknown.
        position: Place in the order in which the runs were made; None is unknown.
        coverage: Share of the work's time and devices that the energy is of; NaN is unknown.
        boards: Identities of the devices, by which one board is told from another of its model.
        tokenizer: What cut the text into tokens; None is unknown.
        idle_power_w: Power of the devices at rest, with their context; NaN is unknown.
        blocks: The work in consecutive blocks, as ``blocks_of`` cuts them.
        curve: How its loss fell; None is unknown.
        label: What its user calls it: its folder; empty is nothing.
    """

    run_id: str
    variant: str
    energy_j: float
    duration_s: float
    amounts: Mapping[str, float]
    trust: Mapping[str, float]
    pair: str | None = None
    devices: tuple[str, ...] = ()
    position: int | None = None
    coverage: float = math.nan
    seed: str | None = None
    boards: tuple[str, ...] = ()
    tokenizer: str | None = None
    idle_power_w: float = math.nan
    blocks: tuple[Block, ...] = ()
    curve: LossCurve | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """What a message calls the run."""
        return self.label or self.run_id

    @property
    def above_idle_j(self) -> float:
        """Energy less what the devices would have used at rest; NaN is unknown."""
        return self.energy_j - self.idle_power_w * self.duration_s


def runs_by_variant(figures: Sequence[RunFigures], baseline: str) -> dict[str, list[RunFigures]]:
    """Group the runs, at least the baseline's and one other variant's.

    Raises:
        ComparisonError: There is nothing to compare with, or a run is given twice.
    """
    groups: dict[str, list[RunFigures]] = {}
    seen: set[str] = set()
    for run in figures:
        if run.run_id in seen:
            raise ComparisonError(
                f"The run {run.name!r} is given twice.",
                "It would count as a repeat, and intervals would come out too narrow.",
                "give each run folder once",
            )
        seen.add(run.run_id)
        groups.setdefault(run.variant, []).append(run)
    if baseline not in groups:
        near = difflib.get_close_matches(baseline, groups, n=1) or sorted(groups)
        raise ComparisonError(
            f"No run has the variant {baseline!r}, the baseline.",
            "There is nothing to compare with.",
            f"use --baseline {' or '.join(map(repr, near))}" if near else "give some runs",
        )
    if len(groups) == 1:
        raise ComparisonError(
            f"All {len(figures)} runs have the variant {baseline!r}.",
            "A comparison needs the baseline and at least one other variant.",
            "name the variants when tracking: track(folder, variant=...)",
        )
    return groups


def check_unit(figures: Sequence[RunFigures], per: str) -> None:
    """Refuse a unit that some run has no amount of.

    Raises:
        ComparisonError: It names the runs, and the units that all runs have.
    """
    if per not in UNITS:
        raise ComparisonError(
            f"Unknown unit {per!r}.",
            "Energy has to be counted per something.",
            f"use one of {', '.join(UNITS)}, or a loss to reach, as loss:2.5",
        )
    without = [run.name for run in figures if not _is_amount(run.amounts.get(per))]
    if not without:
        if per == "token":
            check_tokenizers(figures, per)
        return
    possible = [unit for unit in UNITS if all(_is_amount(run.amounts.get(unit)) for run in figures)]
    listed = ", ".join(without[:5]) + (", ..." if len(without) > len(without[:5]) else "")
    raise ComparisonError(
        f"{len(without)} of {len(figures)} runs have no {per}s: {listed}.",
        f"Energy per {per} cannot be worked out for them.",
        f"count {per}s in each step, or compare --per {' or '.join(possible)}"
        if possible
        else f"count {per}s in each step; these runs share no other unit either",
    )


def check_tokenizers(figures: Sequence[RunFigures], per: str) -> None:
    """Refuse tokens, and losses per token, of unlike tokenizers; unknown ones pass.

    Raises:
        ComparisonError: It names one run of each kind.
    """
    kinds = {run.tokenizer: run.name for run in figures if run.tokenizer is not None}
    if len(kinds) > 1:
        listed = "; ".join(f"{name} by {kind}" for kind, name in kinds.items())
        raise ComparisonError(
            f"The runs' texts were cut by unlike tokenizers: {listed}.",
            f"Their tokens are unlike amounts of text, so that --per {per} means nothing.",
            "compare --per sample or step, if those are alike",
        )


def check_devices(figures: Sequence[RunFigures]) -> None:
    """Refuse runs on unlike devices; unknown devices pass.

    Raises:
        ComparisonError: It names one run of each kind.
    """
    kinds = {tuple(sorted(run.devices)): run.name for run in figures if run.devices}
    if len(kinds) > 1:
        listed = "; ".join(f"{name} on {' + '.join(kind)}" for kind, name in kinds.items())
        raise ComparisonError(
            f"The runs were made on unlike devices: {listed}.",
            "A difference between variants could not be told from one between machines.",
            "compare runs of one machine, or allow it: --across device (across_devices=True)",
        )


def per_unit(runs: Sequence[RunFigures], per: str, field: Field) -> list[float]:
    """Energy or time of each run per unit of its work; NaN where it is unknown or not positive."""
    totals = [getattr(run, field) for run in runs]
    return [
        total / run.amounts[per] if 0 < total < math.inf else math.nan
        for total, run in zip(totals, runs, strict=True)
    ]


def trust_shares(runs: Sequence[RunFigures]) -> dict[str, float]:
    """Shares of the runs' energy by trust; NaN where a run's energy or shares are unknown."""
    total_j = sum(run.energy_j for run in runs)
    if not total_j > 0 or any(not run.trust for run in runs):
        return dict.fromkeys(TRUST, math.nan)
    return {
        kind: sum(run.energy_j * run.trust.get(kind, 0.0) for run in runs) / total_j
        for kind in TRUST
    }


def _is_amount(amount: float | None) -> bool:
    return amount is not None and 0 < amount < math.inf
