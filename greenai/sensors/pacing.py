"""When to read a stepped counter next, so that each of its changes is bracketed narrowly.

A counter that a driver refreshes every 100 ms says nothing in between; what decides the error of a
step's energy is how well the moments of the refreshes are known. Polled every 20 ms they are known
to ±10 ms. Most drivers refresh periodically, so after the first few changes the next one can be
foretold: reading begins 3 ms before it and goes on every 2 ms until the value has changed, which
takes some 30 calls a second and brackets a change to ±1 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    import random

SEARCH_NS = 5 * NS_PER_MS
"""Between two reads while the refresh is being measured: 200 Hz, for the first few changes."""
SEARCH_MAX_NS = 3 * NS_PER_S
"""A counter that does not change for so long is read at the coarse pace until it does."""
REST_NS, REST_MAX_NS = 4 * NS_PER_S, 64 * NS_PER_S
"""A counter in which no period was found is searched again after this time, then twice that …"""
SHARE = 5
"""At the coarse pace a counter is read this many times a refresh."""
SHORTEST_NS, LONGEST_NS = 5 * NS_PER_MS, 50 * NS_PER_MS
DITHER = 0.1
"""Share of the time between reads by which each moves, so that reading never locks by chance."""
FINE_NS = 2 * NS_PER_MS
"""Between two reads where a change is expected."""
LEAD_NS = 3 * NS_PER_MS
"""Reading begins this long before the expected change; earlier after a change that was missed …"""
LEAD_MAX_NS = 12 * NS_PER_MS
"""… but not earlier than this: a driver that is slow to answer is not asked all the time."""
OVERDUE_NS = 12 * NS_PER_MS
"""A change later than this is no longer awaited at the fine pace."""
WORTH_NS = 50 * NS_PER_MS
"""A counter that is refreshed faster than this is read at the coarse pace: it costs less."""
GAPS_WANTED = 4
SURE_NS = 2 * SEARCH_NS
"""While searching, a wider bracket tells nothing of the period."""
PERIODIC_NS = 2 * SEARCH_NS + 2 * NS_PER_MS
"""Gaps that differ by no more than this are periodic: two brackets and some jitter."""
MISSES_MAX = 8
"""After so many more changes outside of their window than inside the phase is given up."""
CALL_SHARE = 4
"""Reads are at least this many times their own duration apart: a slow driver is left in peace."""
GAIN_PHASE, GAIN_PERIOD = 0.5, 0.05

Pace = Literal["searching", "locked", "coarse"]


class Pacing:
    """The moments at which one counter is read.

    Args:
        dither: Source of the dither.

    Example:
        >>> import random
        >>> pacing = Pacing(random.Random(0))
        >>> for t_ms in range(5, 600, 5):  # a counter that changes every 100 ms
        ...     pacing.saw(t_ms * 1_000_000, t_ms * 1_000_000, changed=t_ms % 100 == 20)
        >>> pacing.refresh_ns, pacing.pace
        (100000000, 'locked')
    """

    __slots__ = (
        "_dither",
        "_expected_ns",
        "_gaps",
        "_last_ns",
        "_lead_ns",
        "_misses",
        "_period_ns",
        "_read_ns",
        "_rest_ns",
        "_until_ns",
        "due_ns",
        "pace",
        "refresh_ns",
    )

    def __init__(self, dither: random.Random) -> None:
        self._dither = dither
        self.due_ns = 0
        """Moment of the next read on the monotonic clock."""
        self.refresh_ns = 0
        """Time between two changes; 0 while it is not known."""
        self.pace: Pace = "searching"
        self._rest_ns = REST_NS
        self._read_ns = 0  # start of the latest read
        self._search(0)

    def forget(self) -> None:
        """Begin anew, after a fault."""
        self._search(0)

    def saw(self, t0_ns: int, t1_ns: int, *, changed: bool) -> None:
        """Take what a read showed and settle when the next one is due.

        Args:
            t0_ns: Start of the read.
            t1_ns: Its end.
            changed: Whether the value differs from the one before.
        """
        before_ns, self._read_ns = self._read_ns, t0_ns
        if changed and before_ns:
            self._changed(before_ns, t1_ns)
        self._turn(t1_ns)
        self.due_ns = max(self._next_ns(t1_ns), t1_ns + CALL_SHARE * (t1_ns - t0_ns))

    def _search(self, now_ns: int) -> None:
        self.pace = "searching"
        self._until_ns = now_ns + SEARCH_MAX_NS if now_ns else 0
        self._gaps: list[int] = []
        self._last_ns = 0  # middle of the bracket of the latest change
        self._read_ns = 0
        self._expected_ns = 0
        self._period_ns = 0.0
        self._lead_ns = LEAD_NS
        self._misses = 0

    def _turn(self, now_ns: int) -> None:
        """Change from one pace to another where time has come."""
        if self.pace == "searching":
            self._until_ns = self._until_ns or now_ns + SEARCH_MAX_NS
            if self._is_periodic() or now_ns > self._until_ns:
                self._settle(now_ns)
        elif self.pace == "coarse" and now_ns > self._until_ns:
            read_ns = self._read_ns
            self._search(now_ns)
            self._read_ns = read_ns

    def _is_periodic(self) -> bool:
        gaps = self._gaps
        return len(gaps) >= GAPS_WANTED and max(gaps) - min(gaps) <= PERIODIC_NS

    def _settle(self, now_ns: int) -> None:
        """Follow the phase where the gaps are periodic, else read at the coarse pace."""
        gaps = self._gaps
        if gaps:
            self.refresh_ns = sorted(gaps)[len(gaps) // 2]
        if self._is_periodic() and self.refresh_ns >= WORTH_NS:
            self.pace = "locked"
            self._rest_ns = REST_NS
            self._period_ns = sum(gaps) / len(gaps)
            self._expected_ns = self._last_ns + int(self._period_ns)
            self._lead_ns = 2 * LEAD_NS
        else:
            self._rest(now_ns)

    def _rest(self, now_ns: int) -> None:
        """Read at the coarse pace for a while, each time for longer."""
        self.pace, self._until_ns = "coarse", now_ns + self._rest_ns
        self._rest_ns = min(2 * self._rest_ns, REST_MAX_NS)

    def _changed(self, low_ns: int, high_ns: int) -> None:
        middle_ns = (low_ns + high_ns) // 2
        if self.pace == "locked":
            self._follow(middle_ns, missed=high_ns - low_ns > 4 * FINE_NS)
        elif self.pace == "searching":
            if high_ns - low_ns > SURE_NS:  # a read came late: nothing follows from this change
                self._gaps, self._last_ns = [], 0
                return
            if self._last_ns:
                self._gaps = [*self._gaps[1 - GAPS_WANTED :], middle_ns - self._last_ns]
            self._last_ns = middle_ns
        elif not self.refresh_ns:  # it has begun to change after all
            self._until_ns = 0

    def _follow(self, middle_ns: int, *, missed: bool) -> None:
        """Move phase and period to where the change was; give up what does not hold."""
        if missed:  # a wide bracket tells neither phase nor period, only that it came too early
            self._misses += 1
            self._lead_ns = min(2 * self._lead_ns, LEAD_MAX_NS)
            if self._misses > MISSES_MAX:
                self._rest(middle_ns)
        else:
            self._misses = max(0, self._misses - 1)
            self._lead_ns = max(LEAD_NS, self._lead_ns * 7 // 8)
            error_ns = middle_ns - self._expected_ns
            self._period_ns += GAIN_PERIOD * max(-FINE_NS, min(FINE_NS, error_ns))
            self.refresh_ns = int(self._period_ns)
            self._expected_ns += int(GAIN_PHASE * error_ns)
        while self._expected_ns < middle_ns + self._period_ns / 2:
            self._expected_ns += int(self._period_ns)

    def _next_ns(self, now_ns: int) -> int:
        if self.pace == "locked" and now_ns <= self._expected_ns + OVERDUE_NS:
            return max(self._expected_ns - self._lead_ns, now_ns + FINE_NS)
        coarse_ns = SEARCH_NS
        if self.pace != "searching":
            share_ns = self.refresh_ns // SHARE or LONGEST_NS
            coarse_ns = min(max(share_ns, SHORTEST_NS), LONGEST_NS)
        return now_ns + int(coarse_ns * (1 + self._dither.uniform(-DITHER, DITHER)))
