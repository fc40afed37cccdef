"""How soon the sensors are read and how long start and stop take; run by `make bench`."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import greenai

ROUNDS = 7


def measure() -> dict[str, float]:
    """Milliseconds, medians of several rounds."""
    start_ms, stop_ms, first_ms = [], [], []
    for _ in range(ROUNDS):
        tracker = greenai.track(Path(tempfile.mkdtemp()) / "run", sensors=["rapl", "codecarbon"])
        begin = time.perf_counter()
        tracker.start()
        start_ms.append((time.perf_counter() - begin) * 1e3)
        tracker.train_start()
        for _ in range(15):
            time.sleep(0.1)
            tracker.step(tokens=1)
        begin = time.perf_counter()
        totals = tracker.stop()
        stop_ms.append((time.perf_counter() - begin) * 1e3)
        time.sleep(1.0 if totals.closed else 4.0)
        attempt = greenai.load(tracker.run_folder).record.attempts[0]
        read_ns = [int(one.t_hi_ns[0]) for one in attempt.readings if len(one.t_hi_ns)]
        if read_ns:
            first_ms.append((min(read_ns) - int(attempt.marks.t_ns[0])) / 1e6)
    costs = {"start()": statistics.median(start_ms), "stop()": statistics.median(stop_ms)}
    if first_ms:
        costs["first reading after start()"] = statistics.median(first_ms)
    return costs


TARGET_MS = {"start()": 50.0, "stop()": 200.0, "first reading after start()": 150.0}


def main() -> None:
    """Print each figure beside its target."""
    print("start and stop of a tracker (ms, medians)")
    for name, cost_ms in measure().items():
        verdict = "within" if cost_ms <= TARGET_MS[name] else "MISSED"
        print(f"  {name:34} {cost_ms:6.1f}   target {TARGET_MS[name]:.0f}   {verdict}")


if __name__ == "__main__":
    main()
