"""The energy of a run together with the runs that it goes on from: fine-tuning costs both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenai.record.parent import ancestors_in

if TYPE_CHECKING:
    from greenai.run import Run

NAMED_MAX = 5


def lineage_of(run: Run) -> dict[str, Any] | None:
    """What a run and its ancestors used together.

    The ancestors' energies are as they were when the run began. One whose record covers only a
    share of its time and devices is extrapolated by that share, as an estimate; one whose energy
    is not known stays unknown, and so does the sum.

    Args:
        run: The run.

    Returns:
        ``ancestors``, the nearest first; ``energy_j`` of all, None where any is unknown;
        ``known_j``, of those that are known; ``estimated_j``, with coverage made up for, None
        where the energy or the coverage of any is unknown; ``operational_co2e_g`` of all. None
        where the run names no parent.
    """
    ancestors = ancestors_in(run.record.manifest)
    if not ancestors:
        return None
    own_g = run.footprint().operational_co2e_g
    own = {
        "energy_j": _known(run.energy()),
        "coverage": _known(run.coverage()),
        "operational_co2e_g": _known(own_g),
    }
    whole = [own, *ancestors]
    energies_j = [one["energy_j"] for one in whole]
    return {
        "ancestors": ancestors,
        "energy_j": _sum(energies_j),
        "known_j": _sum([energy_j for energy_j in energies_j if energy_j is not None]),
        "estimated_j": _sum([_whole_j(one) for one in whole]),
        "operational_co2e_g": _sum([one["operational_co2e_g"] for one in whole]),
    }


def about_lineage(lineage: dict[str, Any] | None) -> list[str]:
    """Say which ancestors are not known, so that nobody takes the rest for the whole."""
    if lineage is None:
        return []
    unknown = [one["run_id"] for one in lineage["ancestors"] if one["energy_j"] is None]
    if not unknown:
        return []
    more = " …" if len(unknown) > NAMED_MAX else ""
    names = f"{', '.join(unknown[:NAMED_MAX])}{more}"
    return [f"The energy of {names}, which this run goes on from, is unknown and not in any sum."]


def _whole_j(one: dict[str, Any]) -> float | None:
    """Energy made up for the share that is not covered; None where either is unknown."""
    energy_j: float | None = one["energy_j"]
    coverage: float | None = one["coverage"]
    if energy_j is None or not coverage:
        return None
    return energy_j / min(coverage, 1.0)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _known(value: float | None) -> float | None:
    return value if value is not None and value == value else None  # noqa: PLR0124 - NaN differs
