"""The plots of a run as data: which curves, in which units, thinned out for a page."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from greenai.exporters import quantities
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from greenai.exporters.readable import ReadableCurve, ReadableRun
    from greenai.units import Floats

POINTS = 2000
"""Points of a curve on a page: about one a pixel, the lowest and the highest of each column."""
POINTS_OF_ALL_POWER = 10_000
"""Points of all power curves together: 80 devices must not make a page of megabytes."""
CURVES_MAX = 12
"""Curves that colours and dashes still tell apart."""
BAND_ROOM = 2.0
"""A band is cut above so many times the highest value: one loose bound must not flatten all."""
_TIMES = ((14_400.0, 3_600.0, "h"), (600.0, 60.0, "min"), (0.0, 1.0, "s"))


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """Points of one line; NaN in ``y`` breaks it. Arrays of one length, ``x`` rising."""

    name: str
    x: Floats
    y: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """One plot.

    Attributes:
        key: Short name, for anchors.
        title: What is shown.
        x_title: Meaning and unit of the horizontal axis.
        y_title: Meaning and unit of the vertical axis.
        curves: Lines; empty where nothing is known.
        band: Lower and upper bounds of the first curve, as long as it; None for none.
        from_zero: Whether the vertical axis begins at 0.
        summary: What the plot shows, in words, for those who do not see it.
    """

    key: str
    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    summary: str
    band: tuple[Floats, Floats] | None = None
    from_zero: bool = True

    def to_json(self) -> dict[str, Any]:
        """The data as the page's script reads it: five significant digits, a gap is null."""
        plain: dict[str, Any] = {
            "key": self.key,
            "x": self.x_title,
            "y": self.y_title,
            "zero": self.from_zero,
            "series": [
                {"name": one.name, "x": _short(one.x, 8), "y": _short(one.y)} for one in self.curves
            ],
        }
        if self.band is not None:
            plain["low"], plain["high"] = (_short(bound) for bound in self.band)
        return plain


def charts_of(run: ReadableRun) -> tuple[Chart, ...]:
    """Plots of power, energy per step and cumulative energy; of the loss where it was logged."""
    steps = run.steps()
    kept = steps[~steps["rolled_back"].fillna(value=False).astype(bool)]
    charts = [_power(run.power(POINTS)), _energy_per_step(kept), _cumulative(steps)]
    if np.isfinite(floats(kept["loss"])).any():
        charts.append(_loss(kept))
    return tuple(charts)


def decimate(y: Floats, points: int) -> npt.NDArray[np.int64]:
    """Choose which points to draw so that no peak and no gap is lost.

    The points are cut into bins of equal number; of each bin the lowest and the highest stay, and
    one unknown where there is one, in the order they had.

    Args:
        y: Values; NaN is a gap. Shape (n,).
        points: Most points to keep, at least 5.

    Returns:
        Positions to keep, rising. All of them where there are no more than ``points``.

    Example:
        >>> import numpy as np
        >>> y = np.zeros(1000)
        >>> y[503] = 9.0
        >>> kept = decimate(y, 10)
        >>> len(kept) <= 10, 503 in kept
        (True, True)
    """
    if len(y) <= points:
        return np.arange(len(y))
    unknown = ~np.isfinite(y)
    count = (points - 2) // (3 if unknown.any() else 2)
    starts = np.linspace(0, len(y), count + 1).astype(np.int64)[:-1]
    bins = np.searchsorted(starts, np.arange(len(y)), side="right") - 1
    lowest = np.lexsort((np.where(unknown, np.inf, y), bins))
    highest = np.lexsort((np.where(unknown, np.inf, -y), bins))
    gaps = np.flatnonzero(unknown)
    first_gaps = gaps[np.unique(bins[gaps], return_index=True)[1]]
    ends = np.array([0, len(y) - 1])
    return np.unique(np.concatenate((lowest[starts], highest[starts], first_gaps, ends)))


def _power(curves: Sequence[ReadableCurve]) -> Chart:
    lines = _joined([one for one in curves if np.isfinite(one.power_w).any()])
    busiest = sorted(lines, key=lambda line: -float(np.nanmean(line.y)))[:CURVES_MAX]
    shown = [line for line in lines if any(line is one for one in busiest)]
    factor, unit = quantities.scale(max((highest(line.y) for line in shown), default=0.0), "W")
    second, time_unit = time_scale(max((highest(line.x) for line in shown), default=0.0))
    points = min(POINTS, POINTS_OF_ALL_POWER // max(1, len(shown)))
    said = [
        f"{line.name}: mean {quantities.power(float(np.nanmean(line.y)))}, "
        f"highest {quantities.power(highest(line.y))}"
        for line in shown
    ]
    if len(shown) < len(lines):
        said.append(f"only the {len(shown)} of {len(lines)} devices with most power are shown")
    return Chart(
        key="power",
        title="Power over time",
        x_title=f"Time since the start ({time_unit})",
        y_title=f"Power ({unit})",
        curves=tuple(thinned(line, points, second, factor) for line in shown),
        summary=f"{'; '.join(said)}." if said else "No power is known.",
    )


def _joined(curves: Sequence[ReadableCurve]) -> list[Curve]:
    """Make one line of a device's attempts; devices of one name on several hosts stay apart."""
    lines: list[Curve] = []
    for one in sorted(map(_line_of, curves), key=lambda line: float(line.x[0])):
        own = [line for line in lines if line.name.partition(" #")[0] == one.name]
        before = next((line for line in own if line.x[-1] < one.x[0]), None)
        if before is None:
            numbered = f"{one.name} #{len(own) + 1}" if own else one.name
            lines.append(Curve(numbered, one.x, one.y))
            continue
        # An unknown in between breaks the line: nobody metered the time between two attempts.
        x = np.concatenate((before.x, [before.x[-1]], one.x))
        y = np.concatenate((before.y, [np.nan], one.y))
        lines[lines.index(before)] = Curve(before.name, x, y)
    return sorted(lines, key=lambda line: line.name)


def _line_of(curve: ReadableCurve) -> Curve:
    """A curve between its first and its last known value: before and after, others may count."""
    name = printable(curve.device, limit=40)
    name += "" if curve.trust == "measured" else f" ({printable(curve.trust, limit=20)})"
    known = np.flatnonzero(np.isfinite(curve.power_w))
    own = slice(known[0], known[-1] + 1)
    return Curve(name, np.asarray(curve.t_s[own]), np.asarray(curve.power_w[own]))


def _energy_per_step(steps: pd.DataFrame) -> Chart:
    x, x_title = _step_axis(steps)
    energy_j = floats(steps["energy_j"])
    low_j, high_j = (floats(steps[f"energy_{end}_j"]) for end in ("low", "high"))
    kept = decimate(energy_j, POINTS)
    largest_j = highest(energy_j)
    factor, unit = quantities.scale(largest_j, "J")
    known = energy_j[np.isfinite(energy_j)]
    summary = "No step's energy is known."
    if len(known):
        summary = (
            f"{quantities.many(len(known), 'step')}, median "
            f"{quantities.energy(float(np.median(known)))}, from "
            f"{quantities.energy(float(known.min()))} to {quantities.energy(largest_j)}. "
            "The band holds what a step can have used at least and at most."
        )
    cut_j = BAND_ROOM * largest_j
    high_j = np.where(np.isnan(high_j) & np.isfinite(low_j), np.inf, high_j)
    band = (low_j[kept] / factor, np.minimum(high_j, cut_j)[kept] / factor)
    return Chart(
        key="energy-per-step",
        title="Energy per step",
        x_title=x_title,
        y_title=f"Energy per step ({unit})",
        curves=(Curve("energy", x[kept], energy_j[kept] / factor),) if len(known) else (),
        band=band if len(known) and np.isfinite(band[0]).any() else None,
        summary=summary,
    )


def _cumulative(steps: pd.DataFrame) -> Chart:
    """Sum of the steps' energies; a step of unknown energy is a gap and adds nothing."""
    order = np.argsort(floats(steps["end_s"]), kind="stable")
    t_s, energy_j = floats(steps["end_s"])[order], floats(steps["energy_j"])[order]
    known = np.isfinite(energy_j)
    total_j = np.where(known, np.cumsum(np.where(known, energy_j, 0.0)), np.nan)
    largest_j = highest(total_j)
    factor, unit = quantities.scale(largest_j, "J")
    second, time_unit = time_scale(highest(t_s))
    summary = f"The training steps used {quantities.energy(largest_j)}."
    if not known.all():
        unknown = quantities.many(int((~known).sum()), "step")
        summary += f" Not in the sum: {unknown} of unknown energy."
    return Chart(
        key="cumulative-energy",
        title="Cumulative energy of the training steps",
        x_title=f"Time since the start ({time_unit})",
        y_title=f"Energy ({unit})",
        curves=(thinned(Curve("energy", t_s, total_j), POINTS, second, factor),)
        if known.any()
        else (),
        summary=summary if known.any() else "No step's energy is known.",
    )


def _loss(steps: pd.DataFrame) -> Chart:
    """Loss where it was logged; steps between two logged ones are no gaps."""
    x, x_title = _step_axis(steps)
    loss = floats(steps["loss"])
    logged = np.isfinite(loss)
    x, loss = x[logged], loss[logged]
    return Chart(
        key="loss",
        title="Training loss",
        x_title=x_title,
        y_title="Loss",
        curves=(thinned(Curve("loss", x, loss), POINTS),),
        summary=f"From {quantities.decimal(float(loss[0]))} at the first logged step to "
        f"{quantities.decimal(float(loss[-1]))} at the last; "
        f"lowest {quantities.decimal(float(loss.min()))}.",
        from_zero=False,
    )


def _step_axis(steps: pd.DataFrame) -> tuple[Floats, str]:
    """Step index where it rises all the way, else the order in which the steps were trained."""
    index = floats(steps["step"])
    if (np.diff(index) > 0).all():
        return index, "Optimizer step"
    return np.arange(len(index), dtype=float), "Optimizer steps in the order of training"


def thinned(line: Curve, points: int, x_factor: float = 1.0, y_factor: float = 1.0) -> Curve:
    """A curve of at most so many points, its axes divided by the factors."""
    kept = decimate(line.y, points)
    return Curve(line.name, line.x[kept] / x_factor, line.y[kept] / y_factor)


def time_scale(longest_s: float) -> tuple[float, str]:
    """Seconds in the unit that a time axis up to ``longest_s`` is labelled in, and its name."""
    return next((factor, unit) for from_s, factor, unit in _TIMES if longest_s >= from_s)


def highest(values: Floats) -> float:
    """The highest that is known; 0 where none is."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else 0.0


def floats(values: pd.Series[Any]) -> Floats:
    """Numbers of a column; what is none is NaN."""
    return np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)


def _short(values: Floats, digits: int = 5) -> list[float | int | None]:
    """Numbers as few characters as the eye needs; whole ones without a point."""
    rounded = (float(f"{value:.{digits}g}") for value in values.tolist())
    return [
        None if not math.isfinite(value) else int(value) if value.is_integer() else value
        for value in rounded
    ]
