"""From the times of pairs of blocks to ratios with intervals, verdicts and the table."""

from __future__ import annotations

import dataclasses
import math
from statistics import median
from typing import TYPE_CHECKING

from greenai.analysis.contrast import contrast
from greenai.analysis.student import critical_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGETS = {1: 0.01, 10: 0.001}
"""Slow-down that is wanted at most, by milliseconds of a step; of 100 ms none is stated."""
WANTED_MS = {"start": 50.0, "stop": 200.0}


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A block with a tracker and one without, one right after the other in one process.

    Attributes:
        with_s: Seconds with the tracker, as far as it counts here.
        without_s: The same work without.
        with_first: Whether the block with the tracker came first.
    """

    with_s: float
    without_s: float
    with_first: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Ratio:
    """Time with a tracker over time without, and the 95 % interval of its geometric mean.

    Attributes:
        ratio: NaN where there is no pair.
        low: Lower end; NaN where fewer than two pairs cannot say.
        high: Upper end, likewise.
        n: Number of pairs.
    """

    ratio: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """In percent of slow-down."""
        if math.isnan(self.ratio):
            return "unknown"
        found, low, high = (100 * (each - 1) for each in (self.ratio, self.low, self.high))
        if math.isnan(low):
            return f"{found:+.2f} % [one pair]"
        return f"{found:+.2f} % [{low:+.2f}, {high:+.2f}]"


def ratio_of(pairs: Sequence[Pair]) -> Ratio:
    """Compare pair by pair; a drift along the order is taken out where the order was balanced."""
    if not pairs:
        return Ratio(math.nan, math.nan, math.nan, 0)
    names = [str(number) for number in range(len(pairs))]
    found = contrast(
        [pair.with_s for pair in pairs],
        [pair.without_s for pair in pairs],
        names,
        names,
        [0 if pair.with_first else 1 for pair in pairs],
        [1 if pair.with_first else 0 for pair in pairs],
    )
    if found.lacking == "no variation":
        half = 0.0
    elif found.lacking:
        half = math.nan
    else:
        half = critical_value(0.05, found.df) * found.standard_error
    low, high = found.log_ratio - half, found.log_ratio + half
    return Ratio(math.exp(found.log_ratio), math.exp(low), math.exp(high), len(pairs))


def verdict(found: Ratio, target: float) -> str:
    """Whether the slow-down is at most the target, above it, or neither can be told."""
    if found.high <= 1 + target:
        return "met"
    return "MISSED" if found.low > 1 + target else "not resolved"


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What was measured of one tracker.

    Attributes:
        whole: Pairs of all the time of the steps, by milliseconds of a step.
        middle: Pairs of the median step, likewise.
        thread: Pairs of the CPU time of the training thread, likewise.
        call_us: Medians of the blocks of the call at the end of a step, likewise.
        import_ms: Time to import it, in fresh processes.
        first_ms: Time from the call that starts it to the first step, in fresh processes: it may
            import more then.
        start_ms: The same in a process that has metered before.
        lost_ms: What the steps of a block's beginning took longer than those without.
        stop_ms: Time from the last step to the end of the call that stops it.
        note: What else is to be said of it; empty where nothing.
    """

    whole: Mapping[int, Sequence[Pair]]
    middle: Mapping[int, Sequence[Pair]]
    thread: Mapping[int, Sequence[Pair]]
    call_us: Mapping[int, Sequence[float]] = dataclasses.field(default_factory=dict)
    import_ms: Sequence[float] = ()
    first_ms: Sequence[float] = ()
    start_ms: Sequence[float] = ()
    lost_ms: Sequence[float] = ()
    stop_ms: Sequence[float] = ()
    note: str = ""


def slow_downs(all_found: Mapping[str, Found], nobody: str) -> list[str]:
    """Lines of the first table: each tracker at each length of a step, the noise first."""
    lines = [
        (
            f"{'step':>6}  {'tracker':<14}{'pairs':>6}  {'slow-down [95 %]':<27}"
            f"{'median step':<27}{'CPU time of the thread':<27}{'call µs':>7}  target"
        )
    ]
    for step_ms in sorted({length for found in all_found.values() for length in found.whole}):
        for name, found in all_found.items():
            whole = ratio_of(found.whole.get(step_ms, ()))
            others = [ratio_of(kind.get(step_ms, ())) for kind in (found.middle, found.thread)]
            call_us = median(found.call_us.get(step_ms) or [math.nan])
            said = _judged(whole, step_ms, call_us, noise=name == nobody)
            lines.append(
                f"{step_ms:>3} ms  {name:<14}{whole.n:>6}  {whole!s:<27}"
                f"{others[0]!s:<27}{others[1]!s:<27}{call_us:>7.1f}  {said}"
            )
    return lines


def _judged(found: Ratio, step_ms: int, call_us: float, *, noise: bool) -> str:
    """The target and what came of it; a call that takes more than it needs no interval."""
    if noise:
        return f"noise floor: ±{50 * (found.high - found.low):.2f} %"
    if step_ms not in TARGETS or math.isnan(found.ratio):
        return ""
    target, share = TARGETS[step_ms], call_us / 1e3 / step_ms
    if share > target:
        return f"<= {target:.1%}  MISSED: the call alone is {share:.2%}"
    return f"<= {target:.1%}  {verdict(found, target)}"


def ends(all_found: Mapping[str, Found]) -> list[str]:
    """Lines of the second table: what the training process waits for at its start and end.

    A training starts once, so the first start of a process is what is judged.
    """
    lines = [
        (
            f"{'tracker (ms)':<14}{'import':>8}{'first start':>13}{'target':>8}  {'':<8}"
            f"{'later':>8}{'beginning':>11}{'stop':>8}{'target':>8}"
        )
    ]
    for name, found in all_found.items():
        if not found.start_ms:
            continue  # it failed, which is said below
        first_ms, stop_ms = median(found.first_ms), median(found.stop_ms)
        judged = [
            "met" if ms <= WANTED_MS[what] else "MISSED"
            for what, ms in (("start", first_ms), ("stop", stop_ms))
        ]
        lines.append(
            f"{name:<14}{median(found.import_ms):>8.0f}{first_ms:>13.1f}"
            f"{WANTED_MS['start']:>8.0f}  {judged[0]:<8}{median(found.start_ms):>8.1f}"
            f"{median(found.lost_ms):>+11.1f}{stop_ms:>8.1f}{WANTED_MS['stop']:>8.0f}  {judged[1]}"
        )
    return lines


def notes(all_found: Mapping[str, Found], not_installed: Sequence[str]) -> list[str]:
    """What is to be said beside the tables: who is not in them, and why."""
    said = [f"{name}: {found.note}" for name, found in all_found.items() if found.note]
    if not_installed:
        names = ", ".join(not_installed)
        said.append(f"not installed, so not compared: {names}. hint: pip install -e '.[bench]'")
    return said
