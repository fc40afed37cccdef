"""Energy of steps and phases: series cut by a timeline, with bounds, and closed to the joule."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.bounds import bounds_of_pieces, run_bounds, widened
from greenai.analysis.counted import counted
from greenai.analysis.course import course
from greenai.analysis.series import (
    BRIDGED,
    COVERED,
    Series,
    bridged_energy,
    covered_time_ns,
    is_covered,
    series_from,
)
from greenai.analysis.suspended import parted_at, suspensions_ns
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

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.record.types import Attempt
    from greenai.sensors.base import Channel
    from greenai.units import Floats, Ns

LABELS = ("resolved", "interpolated", "smoothed")
RESOLVED_SPACINGS = 5
"""A step of at least this many knot spacings is resolved; one shorter than one is smoothed."""


def energy_between(series: Series, edges_ns: Ns) -> Floats:
    """Energy used in each of n consecutive spans.

    With E(t) the cumulative energy of the channel, span k used
    ``E(edges[k + 1]) - E(edges[k])``. Between two change points power runs
    smoothly, but breaks at a boundary with plateaus on both sides
    (see ``course``).

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
        [43.75, 187.5, nan]

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
    energy_j = np.diff(course(series, edges_ns).energy_at(edges_ns))
    return np.where(is_covered(series, edges_ns[:-1], edges_ns[1:]), energy_j, np.nan)


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelEnergy:
    """What one primary channel says about one attempt, n steps and p phases.

    Attributes:
        channel: The channel.
        series: Its cumulative energy.
        step_j: Energy of each step; NaN where it is not wholly known. Shape (n,).
        step_low_j: Lower bounds. Shape (n,).
        step_high_j: Upper bounds. Shape (n,).
        beyond: Steps in which the counter says more than the greatest power allows, so that
            their bounds rest on a premise that does not hold. Shape (n,).
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
    beyond: npt.NDArray[np.bool_]
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
    def label_codes(self) -> npt.NDArray[np.int8]:
        """Place in LABELS of each step: how far its energy is its own. Shape (n,)."""
        duration_ns = self.timeline.steps.duration_ns
        codes = (duration_ns < RESOLVED_SPACINGS * self.spacing_ns).astype(np.int8)
        codes += duration_ns < self.spacing_ns
        return codes

    def step_kind_j(self, kind: str) -> Floats:
        """Energy of each step of one component; NaN without such a channel. Shape (n,)."""
        return self._over_channels(
            [channel.step_j for channel in self.channels if channel.channel.kind == kind]
        )

    def step_bounds_j(self) -> tuple[Floats, Floats]:
        """Bounds on each step's energy over all channels. Shape (n,) each."""
        low = self._over_channels([channel.step_low_j for channel in self.channels])
        return low, self._over_channels([channel.step_high_j for channel in self.channels])

    @property
    def beyond(self) -> npt.NDArray[np.bool_]:
        """Steps in which some device drew more than it may: their bounds are void. Shape (n,)."""
        flagged = [channel.beyond for channel in self.channels]
        none = np.zeros(len(self.timeline.steps.index), dtype=bool)
        return np.asarray(np.logical_or.reduce([none, *flagged]), dtype=np.bool_)

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


def counted_series(attempt: Attempt) -> list[Series]:
    """Cumulative energies of the channels of an attempt that are summed (see ``counted``).

    A moment at which the machine was suspended is a gap in all of them.
    """
    suspended_ns = suspensions_ns(attempt.anchors)
    return [
        parted_at(series_from(attempt.readings[position]), suspended_ns)
        for position in counted(attempt).summed
    ]


def attribute(attempt: Attempt, all_series: list[Series] | None = None) -> Attribution:
    """Attribute an attempt's energy to its steps and phases.

    Args:
        attempt: One attempt of one rank, as read.
        all_series: What is summed of it, without what another rank counts (see ``once``); None is
            all that it read.

    Returns:
        Energies per channel that is summed. For each, finite steps, phases and the unattributed
        rest add up to the covered energy.
    """
    if all_series is None:
        all_series = counted_series(attempt)
    cut = timeline(attempt.marks, end_ns(attempt, all_series))
    pieces = _pieces(cut)
    return Attribution(
        timeline=cut,
        channels=tuple(_of_channel(series, cut, pieces) for series in all_series),
        spacing_ns=max((series.spacing_ns for series in all_series), default=0),
    )


def end_ns(attempt: Attempt, all_series: list[Series]) -> int:
    """End of the attempt: its stop, else its last reading, for one that was killed.

    What another reader counts may go on for hours after: the attempt that follows reads the same
    devices.
    """
    marks = attempt.marks
    last_mark_ns = int(marks.t_ns[-1]) if len(marks.t_ns) else 0
    if (marks.kind == STOP).any():
        return last_mark_ns
    return max([last_mark_ns, *map(_last_own_ns, all_series)])


def _last_own_ns(series: Series) -> int:
    """The last moment that a series itself knows of; 0 where there is none."""
    if not len(series.state):
        return int(series.t_ns[-1]) if len(series.t_ns) else 0
    own = np.flatnonzero((series.state == COVERED) | (series.state == BRIDGED))
    return int(series.t_ns[own[-1] + 1]) if len(own) else 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Pieces:
    """Stretches of time of one step each: its segments, with neighbours joined.

    ``first`` and ``last`` are the positions of their ends among the edges of the timeline.
    """

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]


def _pieces(cut: Timeline) -> _Pieces:
    step = cut.step
    if len(step) == 0:
        none = np.empty(0, dtype=np.int64)
        return _Pieces(none, none, none)
    first = np.flatnonzero(np.concatenate(([True], step[1:] != step[:-1])))
    last = np.append(first[1:], len(step))
    owned = step[first] >= 0
    return _Pieces(first[owned], last[owned], step[first[owned]])


def _of_channel(series: Series, cut: Timeline, pieces: _Pieces) -> ChannelEnergy:
    count = len(cut.steps.index)
    at_edge_j = course(series, cut.edges_ns[:-1]).energy_at(cut.edges_ns)
    segment_j = np.diff(at_edge_j)
    piece_j = at_edge_j[pieces.last] - at_edge_j[pieces.first]
    piece_low, piece_high, piece_beyond = bounds_of_pieces(
        series, cut.edges_ns, pieces.first, pieces.last, piece_j
    )
    first_ns, last_ns = cut.edges_ns[pieces.first], cut.edges_ns[pieces.last]
    known = is_covered(series, first_ns, last_ns, or_elsewhere=True)
    unknown = np.bincount(pieces.step[~known], minlength=count) > 0
    unknown |= cut.steps.broken
    owned = cut.step >= 0
    waits = owned & (cut.phase == DATA_WAIT)

    def per_step(step: npt.NDArray[np.int64], energy_j: Floats) -> Floats:
        return np.where(unknown, np.nan, np.bincount(step, weights=energy_j, minlength=count))

    low, high = widened(
        per_step(pieces.step, np.nan_to_num(piece_low)),
        per_step(pieces.step, np.nan_to_num(piece_high, posinf=np.inf)),
        cut.steps.boundary_slack_ns,
        series.channel.power_max_w,
    )
    rest = ~owned
    start_ns, end_ns = (int(cut.edges_ns[0]), int(cut.edges_ns[-1])) if len(cut.step) else (0, 0)
    bridged_j = bridged_energy(series, start_ns, end_ns)
    covered_j = float(segment_j.sum()) + bridged_j
    low_j, high_j = run_bounds(series, start_ns, end_ns)
    return ChannelEnergy(
        channel=series.channel,
        series=series,
        step_j=per_step(cut.step[owned], segment_j[owned]),
        step_low_j=low,
        step_high_j=high,
        beyond=np.bincount(pieces.step[known & piece_beyond], minlength=count) > 0,
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
