"""The probes that need the package at work on a card: its cost, its boundaries, its step energies.

They run in real time, because a sampler process reads the meter.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gpu.loops import Bench, Card
from gpu.probes import (
    Result,
    coverage,
    mean_interval,
    paired_ratio,
    ratio_results,
    spread,
)

import greenai
from greenai.record.types import STEP_END

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RATES_HZ = (0, 10, 50, 100)
LAUNCHES = 100
STEP_S = 0.005
AHEAD = 4
"""Steps that are queued before the one that is waited for."""
CLASS_MS = (50, 200, 500)
START_S = 1.0
"""A sampler and its sensors have started after this."""
SETTLED = 0.2
"""Share of a homogeneous run that is left out at its start."""


class TwoCard(Card, Protocol):
    """A card that also does light work."""

    light_s: float

    def light(self, units: int) -> None:
        """Queue light work; does not wait."""


class NoEvents(Exception):  # noqa: N818 - a reason to skip, no fault
    """The package dates no step by the card's own events."""


def interference(bench: Bench, card: TwoCard, repeats: int = 5) -> list[Result]:
    """T6: what a thread that polls the meter takes from a loop bound by its launches."""
    per_launch_us: dict[int, list[float]] = {rate: [] for rate in RATES_HZ}
    for _ in range(repeats):
        for rate, took_us in per_launch_us.items():
            with polling(bench, rate):
                took_us.append(launching_us(bench, card, bench.seconds / 5))
    results = []
    for rate, took_us in per_launch_us.items():
        results += spread("T6", f"a launch, meter polled at {rate} Hz", took_us, "µs", (50,))
        if rate:
            ratio = paired_ratio(took_us, per_launch_us[0])
            results += ratio_results("T6", f"slower at {rate} Hz", ratio)
    return results


@contextlib.contextmanager
def polling(bench: Bench, rate_hz: int) -> Iterator[None]:
    """Read the counter in a thread while the block runs."""
    done = threading.Event()

    def read() -> None:
        while not done.wait(1 / rate_hz):
            bench.meter.energy_j()

    thread = threading.Thread(target=read, daemon=True)
    if rate_hz:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if rate_hz:
            thread.join()


def launching_us(bench: Bench, card: TwoCard, seconds: float) -> float:
    """Time of one launch, over many."""
    card.synchronize()
    start_ns, launches = bench.clock_ns(), 0
    while bench.clock_ns() < start_ns + seconds * 1e9:
        card.light(LAUNCHES)
        launches += LAUNCHES
    card.synchronize()
    return (bench.clock_ns() - start_ns) / 1e3 / launches


def metering(bench: Bench, folder: Path) -> Any:
    """A tracker that meters the card and nothing else."""
    return greenai.track(folder, sensors=["nvml"], devices=bench.devices)


def overhead(
    bench: Bench, card: TwoCard, folder: Path, *, pairs: int = 10, block_s: float = 10.0
) -> list[Result]:
    """What metering takes from a loop: blocks with and without it in turn, order changing."""
    loops: dict[str, Callable[[], None]] = {
        "launch-bound": lambda: card.light(LAUNCHES),
        "GEMM-bound": lambda: card.heavy(bench.units_in(STEP_S)),
    }
    results = []
    for kind, work in loops.items():
        metered, bare = [], []
        for pair in range(pairs):
            for on in (True, False) if pair % 2 else (False, True):
                if on:
                    with metering(bench, folder / f"{kind}-{pair}") as tracker:
                        metered.append(step_us(bench, work, block_s, tracker.step))
                else:
                    bare.append(step_us(bench, work, block_s, lambda: None))
        results += spread("overhead", f"{kind} step, bare", bare, "µs", (50,))
        results += ratio_results("overhead", f"{kind} slower", paired_ratio(metered, bare))
    return results


def step_us(
    bench: Bench, work: Callable[[], None], seconds: float, mark: Callable[[], object]
) -> float:
    """Time of one step over a block; the first second, in which a sampler starts, is left out."""
    bench.sleep_s(START_S)
    work()
    bench.card.synchronize()
    start_ns, steps = bench.clock_ns(), 0
    while bench.clock_ns() < start_ns + seconds * 1e9:
        work()
        mark()
        steps += 1
    bench.card.synchronize()
    return (bench.clock_ns() - start_ns) / 1e3 / steps


def boundaries(bench: Bench, folder: Path, steps: int = 400) -> list[Result]:
    """Ends of steps as the package dates them, against the moment a wait for them ended."""
    waited_ns: dict[int, int] = {}
    with metering(bench, folder / "boundaries") as tracker:
        for step in range(steps):
            bench.card.heavy(bench.units_in(4 * STEP_S))
            tracker.step()
            if step % AHEAD == AHEAD - 1:
                bench.card.synchronize()
                waited_ns[step] = bench.clock_ns()
    run = greenai.load(tracker.run_folder)
    frame = run.steps()
    by_event = set(frame["step"][frame["boundary"] == "cuda_event"]) & set(waited_ns)
    if not by_event:
        raise NoEvents("no step's boundary is a cuda_event in this version, on this device")
    dated_ns, host_ns = ends_ns(run), marked_ns(run)
    by_event_us = [(waited_ns[step] - dated_ns[step]) / 1e3 for step in by_event]
    by_host_us = [(t_ns - host_ns[step]) / 1e3 for step, t_ns in waited_ns.items()]
    return [
        *spread("boundaries", "waited - event", by_event_us, "µs", (0, 5, 50, 95, 100)),
        *spread("boundaries", "waited - host's mark", by_host_us, "µs"),
    ]


def ends_ns(run: greenai.Run) -> dict[int, float]:
    """Ends of steps as the run's table has them, on the monotonic clock."""
    frame, anchor = run.steps(), run.record.attempts[0].anchors[0]
    first = frame.iloc[0]
    zero_utc_ns = first["start_utc"].value - first["start_s"] * 1e9
    zero_ns = zero_utc_ns - anchor.utc_ns + anchor.monotonic_ns
    return {
        int(step): zero_ns + end_s * 1e9
        for step, end_s in zip(frame["step"], frame["end_s"], strict=True)
    }


def marked_ns(run: greenai.Run) -> dict[int, int]:
    """Ends of steps as the training thread marked them."""
    marks = run.record.attempts[0].marks
    ends = marks.kind == STEP_END
    return dict(zip(marks.index[ends].tolist(), marks.t_ns[ends].tolist(), strict=True))


def classes(
    bench: Bench,
    card: TwoCard,
    folder: Path,
    durations_ms: tuple[int, ...] = CLASS_MS,
    run_s: float = 30.0,
) -> list[Result]:
    """Heavy and light steps in turn, against long runs of one kind."""
    results = []
    for duration_ms in durations_ms:
        seconds = duration_ms / 1e3
        work: list[tuple[str, Callable[[], None]]] = [
            ("heavy", lambda s=seconds: card.heavy(max(1, round(s / card.unit_s)))),
            ("light", lambda s=seconds: card.light(max(1, round(s / card.light_s)))),
        ]
        steps = max(4, round(run_s / seconds))
        truth_j = {}
        for name, one in work:
            frame = metered_steps(bench, folder / f"{name}-{duration_ms}", [one], steps)
            settled = frame["energy_j"].iloc[int(SETTLED * steps) :].dropna()
            truth_j[name] = float(settled.mean())
        calls = [one for _, one in work]
        frame = metered_steps(bench, folder / f"classes-{duration_ms}", calls, steps)
        for position, (name, _) in enumerate(work):
            own = frame[frame["step"] % len(work) == position]
            found = mean_interval(own["energy_j"].dropna().to_numpy())
            what = f"{name} steps of {duration_ms} ms"
            error = 100 * (found.mean / truth_j[name] - 1)
            inside = coverage(own["energy_low_j"], own["energy_high_j"], truth_j[name])
            results += [
                Result("classes", f"{what}: mean against a long run", error, "%", found.n),
                Result("classes", f"{what}: intervals that hold it", 100 * inside, "%", len(own)),
            ]
    return results


def metered_steps(bench: Bench, folder: Path, work: list[Callable[[], None]], steps: int) -> Any:
    """Steps that are waited for, so that the host's marks are true; their table."""
    with metering(bench, folder) as tracker:
        bench.sleep_s(START_S)
        for step in range(steps):
            work[step % len(work)]()
            bench.card.synchronize()
            tracker.step()
    frame = greenai.load(tracker.run_folder).steps()
    # The first step holds the start of the sampler.
    return frame[(frame["step"] > 0) & np.isfinite(frame["duration_s"])]
