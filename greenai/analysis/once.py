"""A device that several ranks or attempts have read is counted once, over all the time they cover.

Each reader has a rank among the readers of a device. A moment that several of them cover is counted
by the first alone; the next takes over where that one has nothing: it began later, had a gap, or
its node died. What a reader leaves to another is ELSEWHERE in its series: it adds no energy there,
and does not make a step unknown.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import BRIDGED, COVERED, ELSEWHERE, LOST, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from greenai.units import Floats, Ns

    Bools = npt.NDArray[np.bool_]

NOBODY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class Reader:
    """One reader of a device.

    Attributes:
        series: What it read.
        start_ns: Start of its part of the run: what it read before is not counted.
        end_ns: End of it.
    """

    series: Series
    start_ns: int
    end_ns: int


def counted_once(readers: Sequence[Reader]) -> list[Series]:
    """Share the time that readers of one device cover among them, so that each moment counts once.

    A gap of which only the energy is known (the counter survived it) is given up where the others
    have read all of it; else it is kept whole, and the others count nothing there.

    Args:
        readers: In the order in which they are believed; their times are of one clock.

    Returns:
        Their series in the same order, ELSEWHERE where another reader counts; where none overlap,
        the series as they were.

    Example:
        >>> import numpy as np
        >>> from greenai.analysis.series import series_from
        >>> from greenai.record.types import ChannelReadings
        >>> from greenai.sensors.base import Channel
        >>> meter = Channel("energy_j", "cpu", "cpu-package-0", "h/0", "rapl", "measured", True,
        ...                 refresh_ns=0)
        >>> def read(first_s, last_s):  # 50 W
        ...     t_ns = np.arange(first_s, last_s + 1) * 10**9
        ...     kind = np.array([1] + [0] * (last_s - first_s), dtype=np.uint8)
        ...     series = series_from(ChannelReadings(meter, t_ns, t_ns, 50.0 * t_ns / 1e9, kind))
        ...     return Reader(series, first_s * 10**9, last_s * 10**9)
        >>> [float(one.covered_steps_j.sum()) for one in counted_once([read(0, 4), read(1, 6)])]
        [200.0, 100.0]
    """
    if len(readers) < 2:  # noqa: PLR2004 - nothing to share
        return [one.series for one in readers]
    edges_ns = np.unique(np.concatenate([_borders_ns(one) for one in readers]))
    middles_ns = edges_ns[:-1] + (edges_ns[1:] - edges_ns[:-1]) // 2
    owner = np.full(len(middles_ns), NOBODY)
    for place, one in enumerate(readers):
        owner[(owner == NOBODY) & _inside(_spans_ns(one, COVERED), middles_ns)] = place
    kept = np.zeros(len(owner), dtype=bool)
    for place, one in enumerate(readers):
        for first, beyond in np.searchsorted(edges_ns, _spans_ns(one, BRIDGED)).tolist():
            gap = slice(first, beyond)
            if not kept[gap].any() and (owner[gap] == NOBODY).any():
                owner[gap], kept[gap] = place, True
    return [
        _left_to_others(one.series, _runs_ns((owner != NOBODY) & (owner != place), edges_ns))
        for place, one in enumerate(readers)
    ]


def _spans_ns(reader: Reader, state: int) -> Ns:
    """Spans within the reader's part of the run that are in a state; bridged gaps by their end.

    A gap that is bridged is counted where it ends (see ``bridged_energy``), so it is whole here.
    """
    series = reader.series
    at = np.flatnonzero((series.state == state) & (np.diff(series.t_ns) > 0))
    spans_ns = np.column_stack([series.t_ns[:-1][at], series.t_ns[1:][at]])
    if state == BRIDGED:
        ends_ns = spans_ns[:, 1]
        within = (ends_ns > reader.start_ns) & (ends_ns <= reader.end_ns)
        return np.asarray(spans_ns[within], dtype=np.int64)
    follows = spans_ns[1:, 0] > spans_ns[:-1, 1]
    joined_ns = np.column_stack(
        [
            spans_ns[np.concatenate(([True], follows)), 0] if len(at) else spans_ns[:, 0],
            spans_ns[np.concatenate((follows, [True])), 1] if len(at) else spans_ns[:, 1],
        ]
    )
    joined_ns = np.clip(joined_ns, reader.start_ns, reader.end_ns)
    return np.asarray(joined_ns[joined_ns[:, 0] < joined_ns[:, 1]], dtype=np.int64)


def _borders_ns(reader: Reader) -> Ns:
    return np.concatenate([_spans_ns(reader, state).ravel() for state in (COVERED, BRIDGED)])


def _inside(spans_ns: Ns, t_ns: Ns) -> Bools:
    """Whether each moment lies in one of the spans, which are sorted and apart."""
    begun = np.searchsorted(spans_ns[:, 0], t_ns, side="right")
    return np.asarray(begun > np.searchsorted(spans_ns[:, 1], t_ns, side="right"), dtype=np.bool_)


def _runs_ns(chosen: Bools, edges_ns: Ns) -> Ns:
    """Spans of neighbouring cells that are chosen. Shape (n, 2)."""
    change = np.diff(np.concatenate(([0], chosen.astype(np.int8), [0])))
    return np.column_stack(
        [edges_ns[np.flatnonzero(change == 1)], edges_ns[np.flatnonzero(change == -1)]]
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """Knots of a series between two moments, with what grows over each interval."""

    t_ns: Ns
    t_lo_ns: Ns
    t_hi_ns: Ns
    added_j: Floats
    slack_low_j: Floats
    slack_high_j: Floats
    state: npt.NDArray[np.uint8]


def _left_to_others(series: Series, spans_ns: Ns) -> Series:
    """The series without what it says of the spans, in which others count."""
    if len(spans_ns) == 0:
        return series
    starts = [None, *spans_ns[:, 1].tolist()]
    ends = [*spans_ns[:, 0].tolist(), None]
    parts = [_stretch(series, start, end) for start, end in zip(starts, ends, strict=True)]

    def joined(name: str) -> list[npt.NDArray[np.float64]]:
        """What grows, with nothing growing in between."""
        return [one for part in _alternating([getattr(p, name) for p in parts]) for one in part]

    state = [_u8([])]
    for place, part in enumerate(parts):
        state += [part.state, *([_u8([ELSEWHERE])] if place < len(parts) - 1 else [])]
    return dataclasses.replace(
        series,
        t_ns=np.concatenate([part.t_ns for part in parts]),
        t_lo_ns=np.concatenate([part.t_lo_ns for part in parts]),
        t_hi_ns=np.concatenate([part.t_hi_ns for part in parts]),
        energy_j=_grown(joined("added_j")),
        slack_low_j=_grown(joined("slack_low_j")),
        slack_high_j=_grown(joined("slack_high_j")),
        state=np.concatenate(state),
    )


def _alternating(parts: list[Floats]) -> Iterator[tuple[Floats, ...]]:
    nothing = np.zeros(1)
    for place, part in enumerate(parts):
        yield (part, nothing) if place < len(parts) - 1 else (part,)


def _grown(added: list[Floats]) -> Floats:
    return np.concatenate(([0.0], np.cumsum(np.concatenate(added))))


def _u8(values: list[int]) -> npt.NDArray[np.uint8]:
    return np.array(values, dtype=np.uint8)


def _stretch(series: Series, start_ns: int | None, end_ns: int | None) -> _Stretch:
    """What a series says between two moments; None is its own first or last knot.

    A moment inside an interval becomes a knot: the energy there is taken as evenly spread, and
    the part of the interval that is kept may be anything from none to all of it, which the slack
    says. Outside of the series nothing is known.
    """
    t_ns, last = series.t_ns, len(series.t_ns) - 1
    first = 0 if start_ns is None else int(np.searchsorted(t_ns, start_ns, side="left"))
    beyond = last + 1 if end_ns is None else int(np.searchsorted(t_ns, end_ns, side="right"))
    own = slice(first, max(first, beyond))
    times_ns = t_ns[own].tolist()
    before = start_ns is not None and (not times_ns or times_ns[0] > start_ns)
    after = end_ns is not None and (not times_ns or times_ns[-1] < end_ns)
    knots_ns = np.array(
        [*([start_ns] if before else []), *times_ns, *([end_ns] if after else [])], dtype=np.int64
    )
    low_ns, high_ns = knots_ns.copy(), knots_ns.copy()
    inner = slice(int(before), int(before) + len(times_ns))
    low_ns[inner], high_ns[inner] = series.t_lo_ns[own], series.t_hi_ns[own]
    # Of which interval of the series is each interval here? -1 and last are outside.
    interval = np.arange(first - int(before), first - int(before) + max(0, len(knots_ns) - 1))
    inside = (interval >= 0) & (interval < last)
    safe = np.clip(interval, 0, max(0, last - 1))
    if last < 1:
        nothing = np.zeros(len(interval))
        state = np.full(len(interval), LOST, dtype=np.uint8)
        return _Stretch(knots_ns, low_ns, high_ns, nothing, nothing, nothing, state)
    whole_ns = np.diff(t_ns)[safe]
    share = np.divide(np.diff(knots_ns), whole_ns, out=np.ones(len(interval)), where=whole_ns > 0)

    def grown(values: Floats) -> Floats:
        return np.where(inside, share * np.diff(values)[safe], 0.0)

    added_j = grown(series.energy_j)
    low_j, high_j = grown(series.slack_low_j), grown(series.slack_high_j)
    state = np.where(inside, series.state[safe], LOST).astype(np.uint8)
    if series.channel.quantity == "energy_j":
        cut = inside & (share < 1) & (state == COVERED)
        low_j += np.where(cut, added_j, 0.0)
        high_j += np.where(cut, np.diff(series.energy_j)[safe] - added_j, 0.0)
    return _Stretch(knots_ns, low_ns, high_ns, added_j, low_j, high_j, state)
