"""The curves of a run that goes on: power by device and bounds by step, beside its running sums."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.analysis.bounds import bounds_at
from greenai.analysis.course import course
from greenai.analysis.running import RunningAttribution
from greenai.analysis.series import is_covered
from greenai.analysis.timeline import DATA_WAIT, TRAIN_STEP
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.pending import SettledStep
    from greenai.analysis.series import Series
    from greenai.analysis.timeline import Timeline
    from greenai.units import Floats, Ns

POWER_SPAN_NS = 500_000_000
"""Power is drawn as means over this long: five changes of a GPU's counter."""


class TracedSteps(NamedTuple):
    """Steps that have settled since the last look, n of them.

    Attributes:
        steps: The steps.
        end_ns: When each ended, on the monotonic clock. Shape (n,).
        low_j: Lower bounds of their energies. Shape (n,).
        high_j: Upper bounds; infinite where a device states no greatest power. Shape (n,).
    """

    steps: list[SettledStep]
    end_ns: Ns
    low_j: Floats
    high_j: Floats


class TracedPower(NamedTuple):
    """Mean power of one device over spans that have settled since the last look, m of them.

    Attributes:
        position: Of the channel, among all that were added.
        t_ns: Ends of the spans. Shape (m,).
        power_w: Watts; NaN where a span is not covered. Shape (m,).
    """

    position: int
    t_ns: Ns
    power_w: Floats


class TracedPhase(NamedTuple):
    """A stretch of time outside of steps.

    Attributes:
        phase: Position in PHASES.
        start_ns: Where it begins.
        end_ns: Where it ends, or where the settled time does.
    """

    phase: int
    start_ns: int
    end_ns: int


@dataclasses.dataclass(slots=True)
class _OpenPiece:
    """What bounds a stretch of the open step that began in an earlier tail.

    ``above_j`` and ``below_j`` are how far the energy at its start can lie from the straight line
    between knots; they have no origin, so that rows may be forgotten meanwhile.
    """

    start_ns: int = 0
    above_j: float = 0.0
    below_j: float = 0.0
    line_j: float = 0.0
    energy_j: float = 0.0
    slack_low_j: float = 0.0
    slack_high_j: float = 0.0


@dataclasses.dataclass(slots=True)
class _ChannelTrace:
    """What one channel carries from one tail to the next."""

    piece: _OpenPiece | None = None
    low_j: float = 0.0
    """Bounds of the pieces of the open step that are over."""
    high_j: float = 0.0
    span_j: float = 0.0
    """Energy since the last full span of power."""
    span_known: bool = True
    span_start_ns: int | None = None


class TracedAttribution(RunningAttribution):
    """Running attribution that also leaves what is drawn.

    Bounds are those of the report where the host's marks end the steps. They are found as the
    report finds them, and carried over the ends of tails: a bound at a moment needs only the
    knots around it.

    Example:
        >>> traced = TracedAttribution()
        >>> traced.settle(), traced.take_power()
        ([], [])
    """

    def __init__(self) -> None:
        super().__init__()
        self._traces: dict[int, _ChannelTrace] = {}
        self._traced: list[TracedSteps] = []
        self._power: list[TracedPower] = []
        self._phases: list[TracedPhase] = []

    def take_phases(self) -> list[TracedPhase]:
        """Time outside of steps that has settled since the last call."""
        taken, self._phases = self._phases, []
        return taken

    def take_steps(self) -> list[TracedSteps]:
        """Steps settled since the last call."""
        taken, self._traced = self._traced, []
        return taken

    def take_power(self) -> list[TracedPower]:
        """Power settled since the last call."""
        taken, self._power = self._power, []
        return taken

    def _book(self, cut: Timeline, series: list[Series]) -> list[SettledStep]:
        steps = super()._book(cut, series)
        count = len(steps)
        low_j, high_j = np.zeros(count), np.zeros(count)
        breaks_ns = np.maximum.accumulate(np.array(self._breaks_ns, dtype=np.int64))
        for position, one in zip(self._places, series, strict=True):
            trace = self._traces.setdefault(position, _ChannelTrace())
            run = course(one, breaks_ns)
            bounds = _bounds(trace, one, cut, run.energy_at(cut.edges_ns), count)
            low_j += bounds[0]
            high_j += bounds[1]
            ends_ns = _span_ends(int(cut.edges_ns[0]), int(cut.edges_ns[-1]))
            if (power := _power(trace, position, one, run.energy_at(ends_ns), ends_ns)) is not None:
                self._power.append(power)
        for at in np.flatnonzero((cut.phase != TRAIN_STEP) & (cut.phase != DATA_WAIT)).tolist():
            start_ns, end_ns = int(cut.edges_ns[at]), int(cut.edges_ns[at + 1])
            self._phases.append(TracedPhase(int(cut.phase[at]), start_ns, end_ns))
        if count:
            unknown = np.isnan([step.energy_j for step in steps])
            low_j[unknown] = high_j[unknown] = np.nan
            self._traced.append(TracedSteps(steps, cut.steps.end_ns, low_j, high_j))
        return steps

    def _give_up_pending(self, phase: int) -> None:
        super()._give_up_pending(phase)
        for trace in self._traces.values():
            trace.piece, trace.low_j, trace.high_j = None, 0.0, 0.0


def _bounds(
    trace: _ChannelTrace, series: Series, cut: Timeline, energy_j: Floats, count: int
) -> tuple[Floats, Floats]:
    """Bounds of the steps that ended, of one channel; what the open step has goes to the trace."""
    step = cut.step
    if len(step) == 0 or len(series.t_ns) == 0:
        return np.zeros(count), np.full(count, np.nan if len(step) else 0.0)
    first = np.flatnonzero(np.concatenate(([True], step[1:] != step[:-1])))
    last = np.append(first[1:], len(step))
    owned = step[first] >= 0
    first, last = first[owned], last[owned]
    owner = step[first]
    edges_ns = cut.edges_ns
    line_j = _line_j(series, edges_ns)
    low_at, high_at = bounds_at(series, edges_ns)
    below_j, above_j = low_at - line_j, high_at - line_j
    slack_low_j = _slack(series, series.slack_low_j, edges_ns)
    slack_high_j = _slack(series, series.slack_high_j, edges_ns)
    pieces = [
        _OpenPiece(
            int(edges_ns[begin]), above_j[begin], below_j[begin], line_j[end] - line_j[begin],
            energy_j[end] - energy_j[begin], slack_low_j[end] - slack_low_j[begin],
            slack_high_j[end] - slack_high_j[begin],
        )
        for begin, end in zip(first[[0, -1]], last[[0, -1]], strict=True)
    ] if len(first) else []  # fmt: skip
    low_j = low_at[last] - high_at[first] - (slack_low_j[last] - slack_low_j[first])
    high_j = high_at[last] - low_at[first] + (slack_high_j[last] - slack_high_j[first])
    piece_j = energy_j[last] - energy_j[first]
    start_ns, limit_w = edges_ns[first].copy(), series.channel.power_max_w
    carried = trace.piece
    continues = carried is not None and len(first) > 0 and first[0] == 0
    if carried is not None and continues:
        joined = _joined(carried, pieces[0])
        start_ns[0], piece_j[0] = joined.start_ns, joined.energy_j
        low_j[0] = joined.line_j + below_j[last[0]] - joined.above_j - joined.slack_low_j
        high_j[0] = joined.line_j + above_j[last[0]] - joined.below_j + joined.slack_high_j
        pieces[-1] = joined if len(first) == 1 else pieces[-1]
    low_j = np.maximum(0.0, low_j)
    if math.isfinite(limit_w):
        high_j = np.minimum(high_j, limit_w * (edges_ns[last] - start_ns) / NS_PER_S)
    low_j, high_j = np.minimum(low_j, piece_j), np.maximum(high_j, piece_j)
    goes_on = len(owner) > 0 and owner[-1] == count and last[-1] == len(step)
    over = slice(None, -1) if goes_on else slice(None)
    trace.piece = pieces[-1] if goes_on else None
    low = np.bincount(owner[over], low_j[over], minlength=count + 1)
    high = np.bincount(owner[over], high_j[over], minlength=count + 1)
    low[0] += trace.low_j
    high[0] += trace.high_j
    trace.low_j, trace.high_j = float(low[count]), float(high[count])
    return low[:count].astype(np.float64), high[:count].astype(np.float64)


def _joined(one: _OpenPiece, other: _OpenPiece) -> _OpenPiece:
    """A stretch that goes on in another tail: its start is the one's, its energy both's."""
    return _OpenPiece(
        one.start_ns,
        one.above_j,
        one.below_j,
        one.line_j + other.line_j,
        one.energy_j + other.energy_j,
        one.slack_low_j + other.slack_low_j,
        one.slack_high_j + other.slack_high_j,
    )


def _line_j(series: Series, t_ns: Ns) -> Floats:
    """Energy on straight lines between the knots, in joules since the first of them."""
    origin_ns = int(series.t_ns[0])
    knots_s = (series.t_ns - origin_ns) / NS_PER_S
    return np.asarray(np.interp((t_ns - origin_ns) / NS_PER_S, knots_s, series.energy_j))


def _slack(series: Series, slack_j: Floats, t_ns: Ns) -> Floats:
    """A cumulative uncertainty at moments, in joules; infinite only in differences."""
    if slack_j[-1] == 0 or not np.isfinite(slack_j[-1]):
        return np.zeros(len(t_ns))  # nothing, or no bound at all: then the value is drawn alone
    return np.asarray(np.interp(t_ns, series.t_ns, slack_j))


def _span_ends(begin_ns: int, end_ns: int) -> Ns:
    """Moments from one to the other, at every whole span between."""
    first = -(-(begin_ns + 1) // POWER_SPAN_NS) * POWER_SPAN_NS
    inner = np.arange(first, end_ns, POWER_SPAN_NS, dtype=np.int64)
    return np.concatenate(([begin_ns], inner, [end_ns]))


def _power(
    trace: _ChannelTrace, position: int, series: Series, energy_j: Floats, ends_ns: Ns
) -> TracedPower | None:
    """Mean power of the spans that are full; the rest goes to the trace."""
    added_j = np.diff(energy_j)
    known = is_covered(series, ends_ns[:-1], ends_ns[1:])
    starts_ns = ends_ns[:-1].copy()
    if trace.span_start_ns is not None:
        starts_ns[0] = trace.span_start_ns
    added_j[0] += trace.span_j
    known[0] &= trace.span_known
    if ends_ns[-1] % POWER_SPAN_NS:
        trace.span_j, trace.span_known = float(added_j[-1]), bool(known[-1])
        trace.span_start_ns = int(starts_ns[-1])
        added_j, known, starts_ns = added_j[:-1], known[:-1], starts_ns[:-1]
    else:
        trace.span_j, trace.span_known, trace.span_start_ns = 0.0, True, None
    if len(added_j) == 0:
        return None
    stops_ns = ends_ns[1 : len(added_j) + 1]
    seconds = np.maximum(stops_ns - starts_ns, 1) / NS_PER_S
    return TracedPower(position, stops_ns, np.where(known, added_j / seconds, np.nan))
