"""The plots of a comparison as data: loss against energy, energy against loss and sequence."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.exporters import quantities
from greenai.exporters.charts import Chart, Curve
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenai.analysis.lens import Lens, LensRun

NAME_MAX = 40
RUNS_MAX = 60
"""Most loss curves on a page: beyond them lines only cover one another."""
SETTLED = 0.05
"""Share of a loss curve at its start that does not decide the vertical range."""


class Plot(NamedTuple):
    """A chart whose curves share colours.

    Attributes:
        chart: What is drawn.
        colours: Number of the colour of each curve.
        key: Name and number of each colour.
        dots: Whether points are dots and not joined.
    """

    chart: Chart
    colours: tuple[int, ...]
    key: tuple[tuple[str, int], ...]
    dots: bool = False


def lens_plots(lens: Lens) -> tuple[Plot, ...]:
    """The plots that there is something to draw in, in report order."""
    plots = (loss_against_energy(lens), energy_against_loss(lens), energy_against_sequence(lens))
    return tuple(plot for plot in plots if plot is not None)


def loss_against_energy(lens: Lens) -> Plot | None:
    """Training loss over the energy spent, one line a run; None where none logged a loss."""
    groups = list(lens.variants().items())
    drawn = [
        (number, run)
        for number, (_, runs) in enumerate(groups)
        for run in runs[: max(1, RUNS_MAX // len(groups))]
        if len(run.curve_j) > 1
    ]
    if not drawn:
        return None
    factor, unit = quantities.scale(max(float(run.curve_j[-1]) for _, run in drawn), "J")
    curves = [
        Curve(_name(run.work.variant), run.curve_j / factor, run.curve_loss) for _, run in drawn
    ]
    said = [
        f"{_name(name)}: loss {quantities.decimal(fmean(run.curve_loss[-1] for run in known))} "
        f"after {quantities.energy(fmean(run.curve_j[-1] for run in known))}"
        for name, runs in groups
        if (known := [run for run in runs if len(run.curve_j) > 1])
    ]
    return Plot(
        Chart(
            key="loss-against-energy",
            title="Loss against energy",
            x_title=f"Energy since the first metered step ({unit})",
            y_title="Training loss",
            curves=tuple(_settled(curve) for curve in curves),
            summary=f"One line a run, without its first twentieth. {'; '.join(said)}.",
            from_zero=False,
        ),
        tuple(number for number, _ in drawn),
        _key(groups),
    )


def energy_against_loss(lens: Lens) -> Plot | None:
    """Joules per unit and final loss of every run, and the variants that none beats in both."""
    groups = list(lens.variants().items())
    points = [
        (number, run)
        for number, (_, runs) in enumerate(groups)
        for run in runs
        if math.isfinite(run.loss) and math.isfinite(run.j_per_unit)
    ]
    if not points:
        return None
    factor, unit = quantities.scale(max(run.j_per_unit for _, run in points), "J")
    curves = [
        Curve(_name(run.work.variant), np.array([run.loss]), np.array([run.j_per_unit / factor]))
        for _, run in points
    ]
    best = [_name(name) for name in pareto(lens)]
    return Plot(
        Chart(
            key="pareto",
            title=f"Energy per {lens.per} against loss",
            x_title=f"Final {lens.loss_kind} loss",
            y_title=f"Energy per {lens.per} ({unit})",
            curves=tuple(curves),
            summary=(
                f"One point a run; down and to the left is better. By their means, no other "
                f"variant has both less energy and less loss than {_joined(best)}."
            ),
            from_zero=False,
        ),
        tuple(number for number, _ in points),
        _key(groups),
        dots=True,
    )


def pareto(lens: Lens) -> list[str]:
    """Variants than which no other has less loss and less energy per unit, by their means.

    A variant of which a loss or an energy is unknown takes no part.
    """
    means = {
        name: (fmean(run.loss for run in runs), fmean(run.j_per_unit for run in runs))
        for name, runs in lens.variants().items()
    }
    known = {name: both for name, both in means.items() if all(map(math.isfinite, both))}
    return [
        name
        for name, (loss, energy_j) in known.items()
        if not any(
            other[0] <= loss and other[1] <= energy_j and other != (loss, energy_j)
            for other in known.values()
        )
    ]


def energy_against_sequence(lens: Lens) -> Plot | None:
    """Joules per unit over the length of the sequence, one line a variant.

    Where no variant was run at two lengths, one line a kind of attention; None where no kind was.
    """
    runs = [*lens.runs, *lens.sweep]
    drawn = _by_length(runs, lambda run: run.work.variant)
    drawn = drawn or _by_length(runs, lambda run: run.attention)
    if not drawn:
        return None
    means = {
        name: {length: fmean(values) for length, values in sorted(by_length.items())}
        for name, by_length in sorted(drawn.items())
    }
    factor, unit = quantities.scale(max(max(one.values()) for one in means.values()), "J")
    curves = [
        Curve(name, np.array([*one], dtype=float), np.array([*one.values()]) / factor)
        for name, one in means.items()
    ]
    said = [f"{name}: {_from_to(one)}" for name, one in means.items()]
    return Plot(
        Chart(
            key="energy-against-sequence",
            title=f"Energy per {lens.per} against sequence length",
            x_title="Sequence length (tokens)",
            y_title=f"Energy per {lens.per} ({unit})",
            curves=tuple(curves),
            summary=f"Means over runs. {'; '.join(said)}.",
        ),
        tuple(range(len(curves))),
        tuple((curve.name, number) for number, curve in enumerate(curves)),
    )


def _by_length(
    runs: Sequence[LensRun], name_of: Callable[[LensRun], str]
) -> dict[str, dict[int, list[float]]]:
    """Joules per unit by name and sequence length, of names that were run at two lengths."""
    found: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        name = _name(name_of(run))
        if name and run.sequence is not None and math.isfinite(run.j_per_unit):
            found.setdefault(name, {}).setdefault(run.sequence, []).append(run.j_per_unit)
    return {name: by_length for name, by_length in found.items() if len(by_length) > 1}


def _from_to(means: dict[int, float]) -> str:
    (first, low_j), *_, (last, high_j) = means.items()
    low, high = quantities.energy(low_j), quantities.energy(high_j)
    return f"{low} at {first:,} tokens, {high} at {last:,}"


def _settled(curve: Curve) -> Curve:
    """The curve without its first points, whose fall would flatten all that comes after."""
    first = min(round(SETTLED * len(curve.x)), len(curve.x) - 1)
    return Curve(curve.name, curve.x[first:], curve.y[first:])


def _key(groups: Sequence[tuple[str, list[LensRun]]]) -> tuple[tuple[str, int], ...]:
    return tuple((_name(name), number) for number, (name, _) in enumerate(groups))


def _name(text: str) -> str:
    return printable(text, limit=NAME_MAX)


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "any"
