"""Whether the sampler's memory stays the same, however many steps it has seen."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

import psutil

JOB = """
import sys, time, greenai
with greenai.track(sys.argv[1], sensors=[]) as tracker:
    next_s = time.perf_counter()
    for step in range(int(sys.argv[2])):
        tracker.step(tokens=512, samples=1, loss=2.5)
        next_s += 40e-6  # faster than the sampler drains, marks are dropped and counted
        while time.perf_counter() < next_s:
            pass
        if step % 100_000 == 0:
            print(step, flush=True)
"""


def main() -> None:
    """Print the sampler's resident memory after each million steps, or part of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="10000000 takes 7 minutes")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", JOB, f"{folder}/run", str(steps)]
        training = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert training.stdout is not None
        sampler = None
        resident: list[tuple[int, float]] = []
        for line in training.stdout:
            if sampler is None:
                time.sleep(1.0)
                sampler = psutil.Process(training.pid).children()[0]
            resident.append((int(line), sampler.memory_info().rss / 1e6))
        training.wait()
    print(f"{'steps':>12}{'resident, MB':>14}")
    every = max(1, len(resident) // 10)
    for count, megabytes in resident[::every]:
        print(f"{count:>12,}{megabytes:>14.1f}")
    settled = [megabytes for _, megabytes in resident[len(resident) // 4 :]]
    print(f"from a quarter of the way on it grows by {settled[-1] - settled[0]:+.1f} MB")


if __name__ == "__main__":
    main()
