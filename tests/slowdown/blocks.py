"""A training process with one tracker: does pairs of blocks of fixed work, and tells their times.

Started by tests/bench/overhead.py, which gives it turns by its standard input: one line of JSON a
pair, answered by one line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slowdown.trackers import NOBODY, TRACKERS

if TYPE_CHECKING:
    from collections.abc import Callable

_LEFT = np.linspace(-1, 1, 96 * 96, dtype=np.float32).reshape(96, 96)
_RIGHT = np.ascontiguousarray(_LEFT.T)
_PYTHON_ROUNDS = 800
AWAIT_S = 6.0
"""How long a block waits for what the tracker of the block before has left running."""


def unit() -> float:
    """A fixed piece of work of some 0.1 ms, half bytecode and half a product outside of the GIL."""
    total = 0
    for number in range(_PYTHON_ROUNDS):
        total += number & 7
    return total + float(np.matmul(_LEFT, _RIGHT)[0, 0])


def unit_s() -> float:
    """Seconds of a unit when nothing else has the core: of many, one of the fastest."""
    times_s = []
    for _ in range(3000):
        begin_s = time.perf_counter()
        unit()
        times_s.append(time.perf_counter() - begin_s)
    return sorted(times_s)[len(times_s) // 10]


class Training:
    """Steps of fixed work, and how long they took.

    Args:
        sections: Milliseconds of a step, units of work of it, number of steps; done in this order.
        beginning: Steps of the first length before those, timed apart.
    """

    def __init__(self, sections: list[tuple[int, int, int]], beginning: int) -> None:
        self._sections = sections
        self._beginning = beginning
        self.begin_s = self.end_s = 0.0
        self.beginning_s = 0.0
        self.times_s: dict[int, dict[str, float]] = {}

    def __call__(self, after_step: Callable[[], object] | None) -> None:
        self.begin_s = time.perf_counter()
        _, units, _ = min(self._sections)
        edges_s, _ = _steps(units, self._beginning, after_step)
        self.beginning_s = edges_s[-1] - edges_s[0]
        for step_ms, units, steps in self._sections:
            cpu_s = time.thread_time()
            edges_s, calls_s = _steps(units, steps, after_step)
            self.times_s[step_ms] = {
                "thread": time.thread_time() - cpu_s,
                "whole": edges_s[-1] - edges_s[0],
                "middle": median(np.diff(edges_s).tolist()),
                "call": median(calls_s),
            }
        self.end_s = time.perf_counter()


def _steps(
    units: int, steps: int, after_step: Callable[[], object] | None
) -> tuple[list[float], list[float]]:
    """Do steps of so many units; the times of their borders, and how long their last call took."""
    edges_s, calls_s = [time.perf_counter()], []
    for _ in range(steps):
        for _ in range(units):
            unit()
        done_s = time.perf_counter()
        if after_step is not None:
            after_step()
        edges_s.append(time.perf_counter())
        calls_s.append(edges_s[-1] - done_s)
    return edges_s, calls_s


def block(tracker: str, sections: list[tuple[int, int, int]], beginning: int) -> dict[str, Any]:
    """Meter a training in a folder of its own, and wait until nothing of the tracker runs."""
    threads = threading.active_count()
    training = Training(sections, beginning)
    with tempfile.TemporaryDirectory(prefix="greenai-bench-", ignore_cleanup_errors=True) as folder:
        begin_s = time.perf_counter()
        TRACKERS[tracker].metered(training, Path(folder))
        end_s = time.perf_counter()
        left = _await_rest(threads) if tracker != NOBODY else ""
    return {
        "times_s": training.times_s,
        "beginning_s": training.beginning_s,
        "start_ms": (training.begin_s - begin_s) * 1e3,
        "stop_ms": (end_s - training.end_s) * 1e3,
        "left": left,
    }


def _await_rest(threads: int) -> str:
    """What of the tracker still runs after a while; empty where nothing does."""
    seen: set[psutil.Process] = set()
    give_up_s = time.monotonic() + AWAIT_S
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            seen |= set(psutil.Process().children(recursive=True))
        running = [child for child in seen if _runs(child)]
        more = threading.active_count() - threads
        if not running and more <= 0:
            return ""
        if time.monotonic() > give_up_s:
            return f"{max(more, 0)} threads and {len(running)} processes still run after a block"
        time.sleep(0.02)


def _runs(child: psutil.Process) -> bool:
    """Whether a process is at work; multiprocessing keeps one to itself, which is not."""
    try:
        ended = child.status() == psutil.STATUS_ZOMBIE
        return not ended and "resource_tracker" not in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Serve pairs until the input ends; what trackers print goes where errors go."""
    tracker, answers = sys.argv[1], os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    begin_s = time.perf_counter()
    importlib.import_module(TRACKERS[tracker].module)
    print(json.dumps({"import_ms": (time.perf_counter() - begin_s) * 1e3}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        sections = [tuple(section) for section in asked["sections"]]
        ours = (tracker, sections, asked["beginning"])
        theirs = (NOBODY, sections, asked["beginning"])
        if asked["with_first"]:
            told = {"with": block(*ours), "without": block(*theirs)}
        else:
            told = {"without": block(*theirs), "with": block(*ours)}
        print(json.dumps(told), file=answers)


if __name__ == "__main__":
    main()
