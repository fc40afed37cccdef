"""GPU time made into host time: where the two clocks stand to each other, and when steps ended.

Each event that the GPU has passed bounds the distance of the clocks for free: it came after the
mark on the host that it was recorded behind, and before the moment at which it was seen to have
passed. Between such moments the distance can drift by at most 100 ppm, so every event bounds it for
its neighbours too, the wider the further away they are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.record.types import FIXED_NAMES, GPU_TIME, NOTE, STEP_END, STOP

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.record.types import Marks
    from greenai.units import Floats, Ns

    Bools = npt.NDArray[np.bool_]
    Positions = npt.NDArray[np.int64]

DRIFT_MAX = 100e-6
"""Premise: a GPU's clock and the host's, which NTP may slew, run apart by no more than this."""
CLOCK_ERROR_NS = 10_000
"""What float32 milliseconds, chained every 16 s, and whole microseconds can be off by."""
SLACK_MAX_NS = 1_000_000
"""A time that is not known better than this is not taken: the host's mark stays."""
PENDING_MAX = 2048
"""Steps that a host runs ahead of its GPU at most: a queue takes some 1,000 launches."""

STRETCHES_MAX = 1000
"""Contradictions of the clocks that are told apart; a record from elsewhere may be made of them."""
_LATE_MAX_US = 1e12
"""No clock is that far off within a run: 11 days."""
_PROBE = FIXED_NAMES.index("gpu_probe")
_TRAIN_START = FIXED_NAMES.index("train_start")


@dataclasses.dataclass(frozen=True, slots=True)
class StepTimes:
    """When the n steps ended, in the order in which they were marked. All of shape (n,).

    Attributes:
        end_ns: End of each step on the host's clock, non-decreasing.
        on_gpu: Whether that is the time at which the GPU came to the step's end; else it is that
            of the host's mark, later by what the GPU lagged at the neighbouring steps.
        slack_ns: How far the true end can lie to either side. 0 where there is no GPU's time in
            the run, NaN where there is, but not of this step: how far the host ran ahead of the
            GPU is then not known.
    """

    end_ns: Ns
    on_gpu: Bools
    slack_ns: Floats


def step_times(marks: Marks) -> tuple[StepTimes, tuple[str, ...]]:
    """Date the ends of steps by the GPU where it told, else by the host.

    Args:
        marks: Marks of one rank in the order in which they were left.

    Returns:
        The times, and in sentences what is not dated by the GPU though the run has its time.
        A step's end on the GPU lies between its mark and the moment at which it was seen.

    Example:
        >>> import numpy as np
        >>> from greenai.record.types import FIXED_NAMES, Marks
        >>> ms = 10**6
        >>> left = [(10 * ms, 3, 0, 0, 1.0), (30 * ms, 3, 0, 1, 1.0)]  # two steps end
        >>> told = [(12 * ms, 5, 0, 0, 0.0), (30 * ms + 50, 5, 0, 1, -1990.0)]  # in µs
        >>> t, kind, name, index, value = map(np.array, zip(*sorted(left + told)))
        >>> times, problems = step_times(Marks(t, kind, name, index, value, FIXED_NAMES))
        >>> (times.end_ns / ms).round(1).tolist()  # the first step was done 2 ms after its mark
        [12.0, 30.0]

    Source: F. Cristian, Probabilistic clock synchronization, 1989: bounds by what came before and
    after.
    """
    told = np.flatnonzero(marks.kind == GPU_TIME)
    ends = np.flatnonzero(marks.kind == STEP_END)
    if len(told) == 0 or len(ends) == 0:
        return host_times(marks)
    t_ns = np.maximum.accumulate(marks.t_ns)
    host_ns = t_ns[ends]
    owner = _owners(marks, ends, told)
    told, owner = told[owner >= 0], owner[owner >= 0]
    left_ns, seen_ns = marks.t_ns[ends[owner]], t_ns[told]
    gpu_ns = left_ns + np.rint(marks.value[told] * 1000.0).astype(np.int64)
    low_ns, high_ns = _distance(gpu_ns, left_ns - gpu_ns, seen_ns - gpu_ns)
    own = marks.name[told] != _PROBE
    passed_ns = gpu_ns + np.rint((low_ns + high_ns) / 2).astype(np.int64)
    end_ns, slack_ns = host_ns.copy(), np.full(len(ends), np.nan)
    end_ns[owner[own]] = np.clip(passed_ns, left_ns, seen_ns)[own]
    slack_ns[owner[own]] = (high_ns - low_ns)[own] / 2
    on_gpu = (slack_ns >= 0) & (slack_ns <= SLACK_MAX_NS)
    end_ns = np.where(on_gpu, end_ns, _shifted(host_ns, end_ns, on_gpu))
    ordered_ns = np.minimum(np.maximum.accumulate(end_ns), _border_ns(marks, t_ns, ends))
    on_gpu &= np.abs(ordered_ns - end_ns) <= slack_ns
    problems = _problems(on_gpu, slack_ns)
    return StepTimes(ordered_ns, on_gpu, np.where(on_gpu, slack_ns, np.nan)), problems


def host_times(marks: Marks) -> tuple[StepTimes, tuple[str, ...]]:
    """Date the ends of steps by the host's marks alone, as ``step_times`` does without a GPU."""
    ends = np.flatnonzero(marks.kind == STEP_END)
    host_ns = np.maximum.accumulate(marks.t_ns)[ends]
    return StepTimes(host_ns, np.zeros(len(ends), bool), np.broadcast_to(0.0, len(ends))), ()


def _owners(marks: Marks, ends: Positions, told: Positions) -> Positions:
    """Step that each fact is about, as its place among the ends; -1 where that is not certain.

    It is the latest one that ended before and has the index. Where two steps of one index lie
    so close that either can be meant (a training that went back a few steps), neither is.
    """
    index = marks.index[ends]
    by_index = np.lexsort((ends, index))
    near = (np.diff(index[by_index]) == 0) & (np.diff(by_index) <= PENDING_MAX)
    twice = np.zeros(len(ends), bool)
    twice[by_index[1:][near]] = twice[by_index[:-1][near]] = True
    span = np.int64(len(marks.kind) + 1)
    wanted = marks.index[told]
    place = np.searchsorted(index[by_index] * span + ends[by_index], wanted * span + told) - 1
    owner = by_index[np.maximum(place, 0)]
    latest = np.searchsorted(ends, told) - 1
    value = marks.value[told]
    known = (place >= 0) & (index[owner] == wanted) & ~twice[owner]
    known &= (latest - owner <= PENDING_MAX) & (np.abs(value) < _LATE_MAX_US)
    return np.where(known, owner, -1)


def _distance(gpu_ns: Ns, low_ns: Ns, high_ns: Ns) -> tuple[Floats, Floats]:
    """Bounds on host time minus GPU time at each event, from all events of its stretch.

    A stretch ends where two neighbours contradict each other: the machine was suspended or a
    clock was set.
    """
    order = np.argsort(gpu_ns, kind="stable")
    at = (gpu_ns - gpu_ns.min(initial=np.iinfo(np.int64).max))[order].astype(np.float64)
    low, high = low_ns[order].astype(np.float64), high_ns[order].astype(np.float64)
    apart = np.diff(at) * DRIFT_MAX + CLOCK_ERROR_NS
    breaks = np.flatnonzero((low[1:] > high[:-1] + apart) | (high[1:] < low[:-1] - apart)) + 1
    drift = at * DRIFT_MAX
    for stretch in np.split(np.arange(len(at)), breaks[:STRETCHES_MAX]):
        low[stretch] = _widest(low[stretch], drift[stretch]) - CLOCK_ERROR_NS
        high[stretch] = CLOCK_ERROR_NS - _widest(-high[stretch], drift[stretch])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return low[back], high[back]


def _widest(bound: Floats, drift: Floats) -> Floats:
    """Greatest that any event, before or after, says of each event: its own less the drift."""
    before = np.maximum.accumulate(bound + drift) - drift
    after = np.maximum.accumulate((bound - drift)[::-1])[::-1] + drift
    return np.maximum(before, after)


def _shifted(host_ns: Ns, end_ns: Ns, on_gpu: Bools) -> Ns:
    """Host times, later by what the GPU lagged around them; else a step could have no length."""
    known = np.flatnonzero(on_gpu)
    if len(known) == 0:
        return host_ns
    late_ns = (end_ns - host_ns)[known].astype(np.float64)
    at = (host_ns - host_ns[0]).astype(np.float64)
    between_ns = np.rint(np.interp(at, at[known], late_ns, left=0.0))
    return np.asarray(host_ns + between_ns.astype(np.int64), dtype=np.int64)


def _border_ns(marks: Marks, t_ns: Ns, ends: Positions) -> Ns:
    """Moment that no step outlasts: the next start of training, or the stop."""
    is_border = (marks.kind == STOP) | ((marks.kind == NOTE) & (marks.name == _TRAIN_START))
    borders = np.flatnonzero(is_border)
    times = np.append(t_ns[borders], np.iinfo(np.int64).max)
    return np.asarray(times[np.searchsorted(borders, ends)])


def _problems(on_gpu: Bools, slack_ns: Floats) -> tuple[str, ...]:
    """Say what is left to the host's marks in a run that has its GPU's time."""
    said = []
    placed = (slack_ns >= 0) & (slack_ns <= SLACK_MAX_NS)
    for steps, why in (
        (
            np.isnan(slack_ns),
            "came before the GPU was used, in a graph's capture, or were not passed by it in time",
        ),
        (slack_ns > SLACK_MAX_NS, f"are known to ± {SLACK_MAX_NS / 1e6:.0f} ms at best"),
        (slack_ns < 0, "are where the clocks of GPU and host contradict each other"),
        (placed & ~on_gpu, "came out of order on the GPU"),
    ):
        if count := int(np.count_nonzero(steps)):
            said.append(
                f"{count} of {len(on_gpu)} ends of steps {why}: these boundaries are the host's, "
                "and how far the GPU was behind is not known."
            )
    return tuple(said)
