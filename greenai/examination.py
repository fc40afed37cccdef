"""Reading a sensor for some seconds, often enough to see its values change, and timing a mark.

Training is never polled like this: the sampler reads at the pace that a sensor asks for.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors import Reading, Sensor

FASTEST_NS = 5 * NS_PER_MS
"""200 Hz: four reads in the shortest refresh of a GPU's counter (20 ms) date its changes."""
NEXT_NS = NS_PER_MS
"""A sensor that says when it is due is read no sooner than this after the read before."""
PARTS = 20
"""A sensor is read at most this many times in the period that it asks for itself."""
DITHER = 0.1
"""Share of the period by which each wake moves, so that polling never locks to the refresh."""
ROUNDS = 100
CALLS = 100
US_PER_NS = 1e-3


class Poll(NamedTuple):
    """One call of ``read``.

    Attributes:
        t0_ns: Monotonic clock just before it.
        t1_ns: The same just after it.
        readings: What it gave.
    """

    t0_ns: int
    t1_ns: int
    readings: list[Reading]


class MarkCost(NamedTuple):
    """What the training thread pays; NaN where no memory can be shared here.

    Attributes:
        mark_us: Median microseconds of one ``mark()``.
        step_us: The same of ``step()`` with tokens, samples and loss.
    """

    mark_us: float = math.nan
    step_us: float = math.nan


def poll(
    sensor: Sensor,
    seconds: float,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep_s: Callable[[float], None] = time.sleep,
) -> list[Poll]:
    """Read a sensor again and again.

    Args:
        sensor: An open sensor.
        seconds: For how long; it is read once at least.
        clock_ns: Tells the time.
        sleep_s: Lets it pass.

    Returns:
        The calls in their order: at most 200 a second, at most 20 in the period that the sensor
        asks for, and with pauses at least as long as the calls.

    Example:
        >>> class Still:
        ...     name, channels, period_ns = "still", (), 20_000_000
        ...     def read(self): return []
        ...     def close(self): pass
        >>> len(poll(Still(), seconds=0))
        1
    """
    read = getattr(sensor, "read_all", sensor.read)  # see Examinable
    paced = read == sensor.read
    dither = random.Random()  # noqa: S311 - moves wakes about, guards nothing
    period_ns = max(FASTEST_NS, sensor.period_ns // PARTS)
    polls: list[Poll] = []
    due_ns = clock_ns()
    end_ns = due_ns + int(seconds * NS_PER_S)
    while True:
        t0_ns = clock_ns()
        readings = read()
        t1_ns = clock_ns()
        polls.append(Poll(t0_ns, t1_ns, readings))
        if t1_ns >= end_ns:
            return polls
        due_ns += int(period_ns * (1 + dither.uniform(-DITHER, DITHER)))
        due_ns = max(due_ns, t1_ns + (t1_ns - t0_ns))
        own_ns = int(getattr(sensor, "due_ns", due_ns)) if paced else due_ns  # see SelfPaced
        next_ns = min(due_ns, max(own_ns, t1_ns + NEXT_NS), end_ns)
        sleep_s(max(0, next_ns - clock_ns()) / NS_PER_S)


def mark_cost() -> MarkCost:
    """Time marks on a real ring that nobody else reads, in this process.

    Returns:
        Medians over rounds of calls, the loop's own cost included.

    Example:
        >>> cost = mark_cost()
        >>> 0 < cost.mark_us < cost.step_us
        True
    """
    from greenai.live.marks import MarkReader, MarkWriter  # noqa: PLC0415 - for this alone
    from greenai.live.shared import Region  # noqa: PLC0415 - for this alone

    try:
        region = Region.create({})
    except OSError:
        return MarkCost()
    writer, reader = MarkWriter(region), MarkReader(region)
    marks_ns: list[float] = []
    steps_ns: list[float] = []
    for _ in range(ROUNDS):
        start_ns = time.perf_counter_ns()
        for _ in itertools.repeat(None, CALLS):
            writer.mark(1, 2, 3, 4.0)
        between_ns = time.perf_counter_ns()
        for _ in itertools.repeat(None, CALLS):
            writer.step(1, 512, 4, 2.5)
        steps_ns.append((time.perf_counter_ns() - between_ns) / CALLS)
        marks_ns.append((between_ns - start_ns) / CALLS)
        while reader.drain():
            reader.release()
    writer.disarm()
    reader.close()
    region.close()
    return MarkCost(median(marks_ns) * US_PER_NS, median(steps_ns) * US_PER_NS)
