"""Energy of steps and phases: series cut by a timeline, with bounds, and closed to the joule."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import (
    LOST,
    Series,
    bridged_energy,
    covered_energy,
    covered_time_ns,
    is_covered,
    series_from,
)
from greenai.analysis.timeline import (
    DATA_WAIT,
    TRAIN_STEP,
    UNATTRIBUTED,
    Timeline,
    timeline,
)
from greenai.errors import OrderError
from greenai.metrics import PHASES
from greenai.record.types import STOP
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Container

    import numpy.typing as npt

    from greenai.record.types import Attempt
    from greenai.sensors.base import Channel
    from greenai.units import Floats, Ns

RESOLVED, INTERPOLATED, SMOOTHED = "resolved", "interpolated", "smoothed"
RESOLVED_SPACINGS = 5
"""A step of at least this many knot spacings is resolved; one shorter than one is smoothed."""


def energy_between(series: Series, edges_ns: Ns) -> Floats:
    """Energy used in each of n consecutive spans.

    With E(t) the cumulative energy of the channel, span k used
    ``E(edges[k + 1]) - E(edges[k])``. Between two change points power is
    taken as constant.

    Args:
        series: Cumulative energy of one channel, in joules.
        edges_ns: Span boundaries on the run's monotonic clock, in
            nanoseconds, non-decreasing. Shape (n + 1,).

    Returns:
        Joules per span. Shape (n,). NaN where a boundary lies outside
        the series or a gap inside the span: unknown is never zero.

    Raises:
        OrderError: A boundary lies before the one it follows.

    Example:
        >>> import numpy as np
        >>> from greenai.record.types import ChannelReadings
        >>> from greenai.sensors.base import Channel
        >>> from greenai.analysis.series import series_from
        >>> meter = Channel("energy_j", "gpu", "gpu0", "GPU-0", "nvml_energy", "measured", True,
        ...                 refresh_ns=0)
        >>> t_ns = np.array([0, 10, 20]) * 10**8
        >>> readings = ChannelReadings(meter, t_ns, t_ns, np.array([5.0, 105.0, 405.0]),
        ...                            np.array([1, 0, 0], dtype=np.uint8))
        >>> energy_between(series_from(readings), np.array([0, 5, 15, 25]) * 10**8).tolist()
        [50.0, 200.0, nan]

    Source: Yang, Adamek, Armour, SC 2024, arXiv:2312.02741.
    """
    backward = np.flatnonzero(np.diff(edges_ns) < 0)
    if len(backward):
        first = int(backward[0])
        raise OrderError(
            f"Boundary {first + 1} ({edges_ns[first + 1]} ns) lies before the one it follows "
            f"({edges_ns[first]} ns).",
            "A span of negative length has no energy.",
            "sort the boundaries",
        )
    energy_j = np.diff(covered_energy(series, edges_ns))
    return np.where(is_covered(series, edges_ns[:-1], edges_ns[1:]), energy_j, np.nan)


def bounds_between(
    series: Series, start_ns: Ns, end_ns: Ns, power_max_w: float = math.nan
) -> tuple[Floats, Floats]:
    """Hard bounds on the energy of spans, under the premise 0 ≤ P ≤ ``power_max_w``.

    Each knot's energy was reached somewhere in its bracket. So at a moment t, E(t) is at least
    what every bracket that ended before t says, and at least what the next knot says less
    what full power could have added since; and at most likewise. A span's bounds are the
    differences of its ends' bounds, and never more than full power over its length.

    Args:
        series: Cumulative energy of one channel.
        start_ns: Starts of the spans. Shape (n,).
        end_ns: Their ends. Shape (n,).
        power_max_w: Greatest power of the device; NaN where unknown, then only the counter
            itself bounds.

    Returns:
        Lower and upper bounds in joules. Shape (n,) each. NaN where a span is not covered.

    Source: the chord bound of piecewise integration; greenai's docs/method.md.
    """
    low_at_start, high_at_start = _bounds_at(series, start_ns, power_max_w)
    low_at_end, high_at_end = _bounds_at(series, end_ns, power_max_w)
    slack_j = np.zeros(len(start_ns))
    if len(series.t_ns):
        slack_j = np.interp(end_ns, series.t_ns, series.slack_j)
        slack_j -= np.interp(start_ns, series.t_ns, series.slack_j)
    low = np.maximum(0.0, low_at_end - high_at_start - slack_j)
    high = high_at_end - low_at_start + slack_j
    if math.isfinite(power_max_w):
        high = np.minimum(high, power_max_w * (end_ns - start_ns) / NS_PER_S)
    energy_j = covered_energy(series, end_ns) - covered_energy(series, start_ns)
    known = is_covered(series, start_ns, end_ns)
    # Above its stated limit a device breaks the premise; the estimate is then its own bound.
    low, high = np.minimum(low, energy_j), np.maximum(high, energy_j)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _bounds_at(series: Series, t_ns: Ns, power_max_w: float) -> tuple[Floats, Floats]:
    """Bounds on E(t), in joules since the first knot."""
    if len(series.t_ns) == 0:
        return np.full(len(t_ns), np.nan), np.full(len(t_ns), np.nan)
    energy_j, last = series.energy_j, len(series.t_ns) - 1
    t_lo_ns = np.maximum.accumulate(series.t_lo_ns)
    t_hi_ns = np.maximum.accumulate(series.t_hi_ns)
    resets = np.concatenate(([0], np.cumsum(series.state == LOST)))
    here = resets[np.clip(np.searchsorted(series.t_ns, t_ns, side="right") - 1, 0, last)]
    ended = np.searchsorted(t_hi_ns, t_ns, side="right") - 1
    begun = np.searchsorted(t_lo_ns, t_ns, side="left")
    low = _at(energy_j, ended, resets, here, -np.inf)
    high = _at(energy_j, begun, resets, here, np.inf)
    if math.isfinite(power_max_w):
        after, before = np.minimum(ended + 1, last), np.maximum(begun - 1, 0)
        ahead_j = power_max_w * (t_hi_ns[after] - t_ns) / NS_PER_S
        behind_j = power_max_w * (t_ns - t_lo_ns[before]) / NS_PER_S
        low = np.maximum(low, _at(energy_j, ended + 1, resets, here, -np.inf) - ahead_j)
        high = np.minimum(high, _at(energy_j, begun - 1, resets, here, np.inf) + behind_j)
    return low, high


def _at(
    energy_j: Floats,
    position: npt.NDArray[np.int64],
    resets: npt.NDArray[np.int64],
    here: npt.NDArray[np.int64],
    absent: float,
) -> Floats:
    """Energy at knots, ``absent`` where there is no such knot or a reset lies between."""
    inside = (position >= 0) & (position < len(energy_j))
    at = np.clip(position, 0, len(energy_j) - 1)
    return np.where(inside & (resets[at] == here), energy_j[at], absent)


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelEnergy:
    """What one primary channel says about one attempt, n steps and p phases.

    Attributes:
        channel: The channel.
        series: Its cumulative energy.
        step_j: Energy of each step; NaN where it is not wholly known. Shape (n,).
        step_low_j: Lower bounds. Shape (n,).
        step_high_j: Upper bounds. Shape (n,).
        wait_j: Part of ``step_j`` spent waiting for data. Shape (n,).
        phase_j: Covered energy by phase outside of steps, in PHASES order. Shape (p,).
        covered_j: All energy known within the run, bridged gaps included.
        low_j: Lower bound on ``covered_j``.
        high_j: Upper bound on ``covered_j``.
        phase_covered_ns: Time covered by phase, in PHASES order. Shape (p,).
    """

    channel: Channel
    series: Series
    step_j: Floats
    step_low_j: Floats
    step_high_j: Floats
    wait_j: Floats
    phase_j: Floats
    covered_j: float
    low_j: float
    high_j: float
    phase_covered_ns: Floats

    @property
    def covered_ns(self) -> float:
        """Time covered within the run, in nanoseconds."""
        return float(self.phase_covered_ns.sum())


@dataclasses.dataclass(frozen=True, slots=True)
class Attribution:
    """Energies of one attempt of one rank.

    Attributes:
        timeline: The run's time by phase and step.
        channels: One entry per primary channel.
        spacing_ns: Coarsest knot spacing of the channels; 0 without channels.
    """

    timeline: Timeline
    channels: tuple[ChannelEnergy, ...]
    spacing_ns: int

    @property
    def step_j(self) -> Floats:
        """Energy of each step over all channels; NaN where one of them is unknown. Shape (n,)."""
        return self._over_channels([channel.step_j for channel in self.channels])

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """How far each step's energy is its own: resolved, interpolated, smoothed. Shape (n,)."""
        duration_ns = self.timeline.steps.duration_ns
        return np.where(
            duration_ns >= RESOLVED_SPACINGS * self.spacing_ns,
            RESOLVED,
            np.where(duration_ns >= self.spacing_ns, INTERPOLATED, SMOOTHED),
        )

    def step_kind_j(self, kind: str) -> Floats:
        """Energy of each step of one component; NaN without such a channel. Shape (n,)."""
        return self._over_channels(
            [channel.step_j for channel in self.channels if channel.channel.kind == kind]
        )

    def step_bounds_j(self) -> tuple[Floats, Floats]:
        """Bounds on each step's energy over all channels. Shape (n,) each."""
        low = self._over_channels([channel.step_low_j for channel in self.channels])
        return low, self._over_channels([channel.step_high_j for channel in self.channels])

    def phase_j(
        self, channel: ChannelEnergy, unknown: npt.NDArray[np.int64] | None = None
    ) -> Floats:
        """Energy of one channel by phase, in PHASES order, closed: the sum is ``covered_j``.

        Steps that are unknown in one channel are unknown in all, so that a total of several
        channels never holds a part of a step; their covered energy is ``unattributed``.
        """
        phase_j = channel.phase_j.copy()
        known = np.isfinite(self.step_j)
        if unknown is not None:
            known &= ~np.isin(self.timeline.steps.index, unknown)
        phase_j[DATA_WAIT] = channel.wait_j[known].sum()
        phase_j[TRAIN_STEP] = channel.step_j[known].sum() - phase_j[DATA_WAIT]
        phase_j[UNATTRIBUTED] = (
            channel.covered_j
            - channel.step_j[known].sum()
            - phase_j[
                [at for at in range(len(PHASES)) if at not in (DATA_WAIT, TRAIN_STEP, UNATTRIBUTED)]
            ].sum()
        )
        return phase_j

    def _over_channels(self, parts: list[Floats]) -> Floats:
        if not parts:
            return np.full(len(self.timeline.steps.index), np.nan)
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def attribute(attempt: Attempt, already_counted: Container[tuple[str, str]] = ()) -> Attribution:
    """Attribute an attempt's energy to its steps and phases.

    Args:
        attempt: One attempt of one rank, as read.
        already_counted: (device_key, kind) of devices that another rank counts.

    Returns:
        Energies per primary channel. For each channel, finite steps, phases and the
        unattributed rest add up to the covered energy.
    """
    all_series = [
        series_from(readings)
        for readings in attempt.readings
        if readings.channel.primary
        and readings.channel.quantity in {"energy_j", "power_w"}
        and (readings.channel.device_key, readings.channel.kind) not in already_counted
    ]
    cut = timeline(attempt.marks, _end_ns(attempt, all_series))
    pieces = _pieces(cut)
    return Attribution(
        timeline=cut,
        channels=tuple(_of_channel(series, cut, pieces) for series in all_series),
        spacing_ns=max((series.spacing_ns for series in all_series), default=0),
    )


def _end_ns(attempt: Attempt, all_series: list[Series]) -> int:
    """End of the run: its stop, else the last reading, for a run that was killed."""
    marks = attempt.marks
    last_mark_ns = int(marks.t_ns[-1]) if len(marks.t_ns) else 0
    if (marks.kind == STOP).any():
        return last_mark_ns
    return max([last_mark_ns, *(int(s.t_ns[-1]) for s in all_series if len(s.t_ns))])


@dataclasses.dataclass(frozen=True, slots=True)
class _Pieces:
    """Stretches of time of one step each: its segments, with neighbours joined."""

    start_ns: Ns
    end_ns: Ns
    step: npt.NDArray[np.int64]


def _pieces(cut: Timeline) -> _Pieces:
    step = cut.step
    if len(step) == 0:
        none = np.empty(0, dtype=np.int64)
        return _Pieces(none, none, none)
    first = np.flatnonzero(np.concatenate(([True], step[1:] != step[:-1])))
    last = np.append(first[1:], len(step))
    owned = step[first] >= 0
    return _Pieces(cut.edges_ns[first[owned]], cut.edges_ns[last[owned]], step[first[owned]])


def _of_channel(series: Series, cut: Timeline, pieces: _Pieces) -> ChannelEnergy:
    count = len(cut.steps.index)
    limit_w = series.channel.power_max_w
    segment_j = np.diff(covered_energy(series, cut.edges_ns))
    piece_low, piece_high = bounds_between(series, pieces.start_ns, pieces.end_ns, limit_w)
    known = is_covered(series, pieces.start_ns, pieces.end_ns)
    unknown = np.bincount(pieces.step[~known], minlength=count) > 0
    unknown |= cut.steps.broken
    owned = cut.step >= 0
    waits = owned & (cut.phase == DATA_WAIT)

    def per_step(step: npt.NDArray[np.int64], energy_j: Floats) -> Floats:
        return np.where(unknown, np.nan, np.bincount(step, weights=energy_j, minlength=count))

    rest = ~owned
    start_ns, end_ns = (int(cut.edges_ns[0]), int(cut.edges_ns[-1])) if len(cut.step) else (0, 0)
    bridged_j = bridged_energy(series, start_ns, end_ns)
    covered_j = float(segment_j.sum()) + bridged_j
    low_j, high_j = _run_bounds(series, start_ns, end_ns)
    return ChannelEnergy(
        channel=series.channel,
        series=series,
        step_j=per_step(cut.step[owned], segment_j[owned]),
        step_low_j=per_step(pieces.step, np.nan_to_num(piece_low)),
        step_high_j=per_step(pieces.step, np.nan_to_num(piece_high)),
        wait_j=per_step(cut.step[waits], segment_j[waits]),
        phase_j=np.asarray(
            np.bincount(cut.phase[rest], weights=segment_j[rest], minlength=len(PHASES)), np.float64
        ),
        covered_j=covered_j,
        low_j=min(low_j, covered_j),
        high_j=max(high_j, covered_j),
        phase_covered_ns=np.asarray(
            np.bincount(cut.phase, np.diff(covered_time_ns(series, cut.edges_ns)), len(PHASES)),
            np.float64,
        ),
    )


def _run_bounds(series: Series, start_ns: int, end_ns: int) -> tuple[float, float]:
    """Bounds on the known energy of the run: each stretch between resets has its own ends."""
    if len(series.t_ns) == 0:
        return 0.0, 0.0
    lost = np.flatnonzero(series.state == LOST)
    firsts = np.clip(series.t_ns[np.concatenate(([0], lost + 1))], start_ns, end_ns)
    lasts = np.clip(series.t_ns[np.concatenate((lost, [len(series.t_ns) - 1]))], start_ns, end_ns)
    low_f, high_f = _bounds_at(series, firsts, series.channel.power_max_w)
    low_l, high_l = _bounds_at(series, lasts, series.channel.power_max_w)
    real = lasts > firsts
    slack_j = float(series.slack_j[-1])
    low = float(np.maximum(0.0, low_l - high_f)[real].sum()) - slack_j
    return max(0.0, low), float((high_l - low_f)[real].sum()) + slack_j
