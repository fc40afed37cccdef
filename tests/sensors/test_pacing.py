"""Laws of pacing: changes are bracketed narrowly, and the driver is asked no more than needed."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import pytest

from greenai.sensors.pacing import FINE_NS, OVERDUE_NS, Pacing

MS = 1_000_000


class Followed(NamedTuple):
    """What following a counter for a while gave: brackets of its changes, reads a second."""

    widths_ns: np.ndarray
    reads_per_s: float
    pacing: Pacing


def follow(
    refresh_ms: float,
    seconds: float,
    *,
    jitter_ms: float = 0.0,
    call_us: float = 40.0,
    late_ms: float = 0.1,
    seed: int = 0,
    stops_at_s: float = np.inf,
) -> Followed:
    """Read a counter that changes every ``refresh_ms``, a little off, as a late reader would."""
    noise = np.random.default_rng(seed)
    count = int(seconds * 1e3 / refresh_ms) + 2
    changes_ns = (np.arange(count) * refresh_ms + noise.uniform(0, jitter_ms, count)) * MS
    changes_ns = changes_ns[changes_ns < stops_at_s * 1e9]
    pacing = Pacing(random.Random(seed))  # noqa: S311 - guards nothing
    t_ns, reads, seen, before_ns, widths = 3.0 * MS, 0, -1, 0.0, []
    while t_ns < seconds * 1e9:
        done_ns = t_ns + call_us * 1e3
        value = int(np.searchsorted(changes_ns, t_ns + call_us * 500))
        changed = seen not in {-1, value}
        if changed:
            widths.append(done_ns - before_ns)
        pacing.saw(int(t_ns), int(done_ns), changed=changed)
        seen, before_ns, reads = value, t_ns, reads + 1
        assert pacing.due_ns > done_ns
        t_ns = pacing.due_ns + noise.exponential(late_ms) * MS
    return Followed(np.array(widths), reads / seconds, pacing)


@pytest.mark.parametrize("jitter_ms", [0.0, 1.0])
@pytest.mark.parametrize("refresh_ms", [100.0, 101.3, 60.0, 500.0])
def test_a_periodic_counter_is_bracketed_to_some_milliseconds(
    refresh_ms: float, jitter_ms: float
) -> None:
    done = follow(refresh_ms, 60, jitter_ms=jitter_ms)
    assert done.pacing.pace == "locked"
    assert done.pacing.refresh_ns == pytest.approx(refresh_ms * MS, rel=0.01)
    settled = done.widths_ns[8:]
    assert np.median(settled) < 1.5 * FINE_NS
    assert np.quantile(settled, 0.95) < 4 * FINE_NS


def test_it_costs_some_thirty_reads_a_second() -> None:
    assert follow(100, 60, jitter_ms=1).reads_per_s < 40


def test_a_counter_without_a_phase_is_read_five_times_a_refresh() -> None:
    done = follow(100, 60, jitter_ms=60)
    assert done.pacing.pace != "locked"
    assert 40 < done.reads_per_s < 85  # searching for a phase now and then included
    assert np.quantile(done.widths_ns, 0.95) < 60 * MS


def test_a_fast_counter_is_read_at_most_two_hundred_times_a_second() -> None:
    done = follow(20, 20)
    assert done.pacing.pace == "coarse"
    assert done.reads_per_s < 215
    assert np.median(done.widths_ns) < 7 * MS


def test_a_counter_that_stops_is_not_hammered() -> None:
    done = follow(100, 30, stops_at_s=10)
    assert done.reads_per_s < 60


def test_a_counter_that_never_changes_is_read_at_the_coarse_pace_in_the_end() -> None:
    done = follow(100, 30, stops_at_s=0)
    assert len(done.widths_ns) == 0
    assert done.reads_per_s < 100


def test_a_slow_driver_is_left_in_peace() -> None:
    done = follow(100, 20, call_us=5_000)
    busy_share = done.reads_per_s * 5e-3
    assert busy_share <= 0.21  # four times its own duration passes between two reads


def test_a_phase_that_jumps_is_found_again() -> None:
    pacing = Pacing(random.Random(0))  # noqa: S311 - guards nothing
    changes_ns = np.concatenate((np.arange(0, 200), np.arange(200, 400) + 0.43)) * 100 * MS
    t_ns, seen, before_ns = 1.0 * MS, -1, 0.0
    widths: list[tuple[float, float]] = []
    while t_ns < 39e9:
        value = int(np.searchsorted(changes_ns, t_ns))
        changed = seen not in {-1, value}
        if changed:
            widths.append((t_ns, t_ns - before_ns))
        pacing.saw(int(t_ns), int(t_ns) + 40_000, changed=changed)
        seen, before_ns, t_ns = value, t_ns, pacing.due_ns
    late = [width for at, width in widths if at > 38e9]
    assert max(late) <= OVERDUE_NS + 30 * MS
    assert np.median([width for at, width in widths if 10e9 < at < 19e9]) < 2 * FINE_NS


def test_after_a_fault_it_begins_anew() -> None:
    done = follow(100, 5)
    done.pacing.forget()
    assert done.pacing.pace == "searching"
