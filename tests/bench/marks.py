"""What a mark costs the training thread; run by `make bench`.

Prints the best of many rounds, because another load on the machine only ever adds time.
"""

from __future__ import annotations

import tempfile
import timeit

from greenai.live.marks import MarkReader
from greenai.live.shared import TAIL, Region
from greenai.live.tracker import MarkWriter, Tracker
from greenai.settings import resolve

ROUNDS = 40
CALLS = 10_000

BUDGET_US = {"mark()": 0.5, "step(tokens=, samples=, loss=)": 1.2, "Tracker.step(…)": 1.2}
"""Budgets of the design for the first two; the third is the same call through the door."""


def measure() -> dict[str, float]:
    """Microseconds per call, the loop's own cost taken off."""
    region = Region.create({})
    writer, reader = MarkWriter(region), MarkReader(region)
    tracker = Tracker(resolve(folder=tempfile.mkdtemp(), sensors=[]))
    tracker._region, tracker._writer = region, writer
    tracker._look_ns = 1 << 62
    calls = {
        "nothing": lambda: None,
        "mark()": lambda: writer.mark(1, 2, 3, 4.0),
        "step(tokens=, samples=, loss=)": lambda: writer.step(1, 512, 4, 2.5),
        "Tracker.step(…)": lambda: tracker.step(tokens=512, samples=4, loss=2.5),
    }
    best = dict.fromkeys(calls, 1e9)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            while reader.drain():
                reader.release()
            writer._limit = region.header[TAIL] + 65_536
            best[name] = min(best[name], timeit.timeit(call, number=CALLS) / CALLS * 1e6)
    idle = best.pop("nothing")
    return {name: cost - idle for name, cost in best.items()}


def main() -> None:
    """Print each cost beside its budget."""
    print("cost of a mark on the training thread (µs, best of rounds)")
    for name, cost_us in measure().items():
        verdict = "within" if cost_us <= BUDGET_US[name] else "MISSED"
        print(f"  {name:34} {cost_us:5.2f}   budget {BUDGET_US[name]:.1f}   {verdict}")


if __name__ == "__main__":
    main()
