"""What the probes of a real GPU make of their readings: pure functions, tested without one."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats

from greenai.diagnosis import Seen, changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FULL_TIME_PERCENT = 1.0
"""Residuals of the square waves within this: the counter sees all of the time."""
NEVER_NS = 1 << 62


class Result(NamedTuple):
    """One figure: the probe it is of, what it says, its value (NaN: not had) and its unit."""

    probe: str
    what: str
    value: float
    unit: str
    n: int = 1


class Skipped(NamedTuple):
    """A probe that was not run, and why."""

    probe: str
    reason: str


class Wave(NamedTuple):
    """One run of a square wave between two changes of the counter.

    Attributes:
        name: Period and phase, for people.
        seconds: From change to change.
        units: Units of work done in between.
        energy_j: What the counter says of it.
    """

    name: str
    seconds: float
    units: int
    energy_j: float


@dataclasses.dataclass(frozen=True, slots=True)
class WorkModel:
    """``E = P0 * T + c * units``, fitted over square waves of many periods.

    Attributes:
        rest_w: P0.
        unit_j: c.
        residual_percent: Of each wave, in percent of its energy.
    """

    rest_w: float
    unit_j: float
    residual_percent: tuple[float, ...]

    @property
    def worst_percent(self) -> float:
        return max(map(abs, self.residual_percent))

    @property
    def full_time(self) -> bool:
        """Whether the counter sees all of the time, as far as these waves tell."""
        return self.worst_percent <= FULL_TIME_PERCENT


class Interval(NamedTuple):
    """A mean with its 95 % interval over n independent values."""

    mean: float
    low: float
    high: float
    n: int


class Line(NamedTuple):
    """How a GPU's clock runs against the host's: parts in a million, worst residual in µs."""

    drift_ppm: float
    worst_us: float


def spread(
    probe: str, what: str, values: Sequence[float], unit: str, cuts: Iterable[int] = (50, 95, 100)
) -> list[Result]:
    """Percentiles of values; NaN where there are none."""
    return [
        Result(
            probe,
            f"{what}, {'worst' if cut == 100 else f'p{cut}'}",
            float(np.percentile(values, cut)) if len(values) else math.nan,
            unit,
            len(values),
        )
        for cut in cuts
    ]


def refresh_gaps_ms(seen: Sequence[Seen]) -> list[float]:
    """Times between new values, each dated by the middle of the reads around it."""
    moments_ns = [one.moment_ns for one in changes(seen, NEVER_NS)]
    return [float(gap) / 1e6 for gap in np.diff(moments_ns)]


def fit_work(waves: Sequence[Wave]) -> WorkModel:
    """Least squares in percent of each wave's energy, so that long waves do not rule."""
    design = np.array([[one.seconds, one.units] for one in waves], dtype=float)
    energy_j = np.array([one.energy_j for one in waves])
    fitted, *_ = np.linalg.lstsq(design / energy_j[:, None], np.ones(len(waves)), rcond=None)
    residual = 100 * (1 - design @ fitted / energy_j)
    return WorkModel(float(fitted[0]), float(fitted[1]), tuple(map(float, residual)))


def fit_clock(gpu_ms: Sequence[float], host_ns: Sequence[float]) -> Line:
    """Drift of the GPU's clock from anchors: elapsed times of its own, and the host's moments."""
    host_ms = (np.array(host_ns, dtype=float) - host_ns[0]) / 1e6
    gpu = np.array(gpu_ms, dtype=float)
    slope, start = np.polyfit(host_ms, gpu - host_ms, 1)
    residual_ms = gpu - host_ms - (slope * host_ms + start)
    return Line(float(slope * 1e6), float(np.max(np.abs(residual_ms)) * 1e3))


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with its 95 % interval by Student's t; NaN bounds for fewer than two values."""
    mean = float(np.mean(values)) if len(values) else math.nan
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan, len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half, len(values))


def paired_ratio(changed: Sequence[float], base: Sequence[float]) -> Interval:
    """Ratio of pairs of neighbouring blocks: mean and interval of its logarithm, turned back."""
    logs = [math.log(one / other) for one, other in zip(changed, base, strict=True)]
    found = mean_interval(logs)
    return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def ratio_results(probe: str, what: str, ratio: Interval) -> list[Result]:
    """A ratio as slowdown in percent, with its interval."""
    named = (("", ratio.mean), (", low", ratio.low), (", high", ratio.high))
    return [Result(probe, what + name, 100 * (value - 1), "%", ratio.n) for name, value in named]


def coverage(low: Sequence[float], high: Sequence[float], truth: float) -> float:
    """Share of known intervals that contain the truth; NaN where none is known."""
    known = [(a, b) for a, b in zip(low, high, strict=True) if a == a and b == b]  # noqa: PLR0124 - NaN
    return sum(a <= truth <= b for a, b in known) / len(known) if known else math.nan


def table(results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """One line a figure, one line a probe that was not run."""
    width = max((len(one.what) for one in results), default=0)
    lines = [
        f"{one.probe:<11}{one.what:<{width}}  "
        + (f"{'not had':>11} " if math.isnan(one.value) else f"{one.value:>11.4g} ")
        + f"{one.unit:<5} n = {one.n}"
        for one in results
    ]
    return "\n".join([*lines, *(f"{one.probe:<11}not run: {one.reason}" for one in skipped)])


def to_json(
    about: dict[str, Any], results: Sequence[Result], skipped: Sequence[Skipped]
) -> dict[str, Any]:
    """Plain values; a figure that was not had is null."""
    rows = [one._asdict() for one in results]
    for row in rows:
        row["value"] = row["value"] if math.isfinite(row["value"]) else None
    return {
        "schema_version": 1,
        **about,
        "results": rows,
        "skipped": [one._asdict() for one in skipped],
    }
