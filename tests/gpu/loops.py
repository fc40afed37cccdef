"""The probes that need a card and its meter: loops that read and work, in real or simulated time.

T1 latency of calls, T2 refresh at rest, T3 events and clocks, T4 square waves, T5 refresh under
load, and the integral of power against the counter. No clock, limit or mode of a card is changed.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, Protocol

from gpu.probes import (
    Result,
    Wave,
    fit_clock,
    fit_work,
    refresh_gaps_ms,
    spread,
)

from greenai.diagnosis import Seen, changes, cross_check

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
PERIODS_MS = (30, 50, 70, 100, 150, 200, 300, 500, 700)
PHASES = (0.0, 0.25, 0.5, 0.75)
CALLS = 200
POLL_S = 0.002
AHEAD_S = 0.05
"""Under load the queue is kept this full."""
SETTLE_S = 1.0
"""After work a board takes a while to fall back to its power at rest."""
GIVE_UP_S = 2.0
"""A counter that has not changed for this long is not waited for."""


class Meter(Protocol):
    """What one board tells; each call raises nothing and gives NaN where it is not supported."""

    def energy_j(self) -> float:
        """Counter."""

    def instant_w(self) -> float:
        """Power of the latest window."""

    def plain_w(self) -> float:
        """Power as the oldest call has it."""


class Card(Protocol):
    """A board that works off a queue."""

    unit_s: float
    """How long a unit of heavy work takes."""

    def heavy(self, units: int) -> None:
        """Queue heavy work; does not wait."""

    def event(self) -> Any:
        """Queue a timing event."""

    def passed(self, event: Any) -> bool:
        """Whether the board has come to it."""

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Time between two events, by the board's clock."""

    def synchronize(self) -> None:
        """Wait for all that is queued."""

    def stream(self) -> Any:
        """Current stream."""

    def capturing(self) -> bool:
        """Whether a graph is being captured."""


@dataclasses.dataclass
class Bench:
    """Where the probes are run.

    Args:
        card: Works.
        meter: Tells.
        clock_ns: The time.
        sleep_s: Lets it pass.
        seconds: How long each loop of a probe takes; the probes that need more say so.
        devices: UUID of the card, where the package is to meter it and no other.
    """

    card: Card
    meter: Meter
    clock_ns: Callable[[], int] = time.monotonic_ns
    sleep_s: Callable[[float], None] = time.sleep
    seconds: float = 5.0
    devices: list[str] | None = None

    def calls(self) -> dict[str, Callable[[], float]]:
        return {
            "energy counter": self.meter.energy_j,
            "instant power": self.meter.instant_w,
            "plain power": self.meter.plain_w,
        }

    def until(self, t_ns: float) -> None:
        """Sleep until a moment."""
        self.sleep_s(max(0.0, (t_ns - self.clock_ns()) / 1e9))

    def see(self, call: Callable[[], float]) -> Seen:
        """Read once, between two times."""
        t0_ns = self.clock_ns()
        value = call()
        return Seen(t0_ns, self.clock_ns(), value, in_call=True)

    def units_in(self, seconds: float) -> int:
        return max(1, round(seconds / self.card.unit_s))


class Feeder:
    """Keeps the queue of a card full, from the thread that reads its meter.

    Args:
        bench: Whose card.
        loaded: Whether to do anything at all.
    """

    def __init__(self, bench: Bench, *, loaded: bool) -> None:
        self._bench = bench
        self._loaded = loaded
        self._until_ns = 0

    def feed(self) -> None:
        """Queue as much as brings the queue to AHEAD_S."""
        if self._loaded:
            now_ns = self._bench.clock_ns()
            self._until_ns = max(self._until_ns, now_ns)
            units = int((now_ns + AHEAD_S * 1e9 - self._until_ns) / 1e9 / self._bench.card.unit_s)
            if units > 0:
                self._bench.card.heavy(units)
                self._until_ns += int(units * self._bench.card.unit_s * 1e9)

    def end(self) -> None:
        if self._loaded:
            self._bench.card.synchronize()


def latencies(bench: Bench, *, loaded: bool) -> list[Result]:
    """T1: how long each call takes, at rest and under load."""
    state = "loaded" if loaded else "at rest"
    feeder = Feeder(bench, loaded=loaded)
    results = []
    for name, call in bench.calls().items():
        took_us = []
        for _ in range(CALLS):
            feeder.feed()
            one = bench.see(call)
            if math.isfinite(one.value):
                took_us.append((one.t1_ns - one.t0_ns) / 1e3)
            bench.sleep_s(POLL_S)
        results += spread("T1", f"{name}, {state}", took_us, "µs")
    feeder.end()
    return results


def refreshes(bench: Bench, *, loaded: bool) -> list[Result]:
    """T2 and T5: how often each value changes. Power at rest may stand still for longer."""
    seen = watch(bench, bench.seconds, loaded=loaded)
    probe, state = ("T5", "loaded") if loaded else ("T2", "at rest")
    results = []
    for name, values in seen.items():
        gaps_ms = refresh_gaps_ms(values)
        results += spread(probe, f"{name} changes, {state}", gaps_ms, "ms", (5, 50, 95))
    return results


def watch(bench: Bench, seconds: float, *, loaded: bool) -> dict[str, list[Seen]]:
    """Poll all calls every 2 ms for a while."""
    seen: dict[str, list[Seen]] = {name: [] for name in bench.calls()}
    feeder = Feeder(bench, loaded=loaded)
    end_ns = bench.clock_ns() + int(seconds * 1e9)
    while bench.clock_ns() < end_ns:
        feeder.feed()
        for name, call in bench.calls().items():
            one = bench.see(call)
            if math.isfinite(one.value):
                seen[name].append(one)
        bench.sleep_s(POLL_S)
    feeder.end()
    return seen


def integral(bench: Bench, *, loaded: bool) -> list[Result]:
    """The integral of instant power against the counter, for twelve times a loop."""
    state = "loaded" if loaded else "at rest"
    seen = watch(bench, 12 * bench.seconds, loaded=loaded)
    counter, power = seen["energy counter"], seen["instant power"]
    check = cross_check(changes(counter, 1 << 62), power)
    return [
        Result("integral", f"counter - power, {state}", check.percent, "%", len(power)),
        Result("integral", f"its 95 % interval, ±, {state}", check.uncertainty_percent, "%"),
    ]


def events(bench: Bench) -> list[Result]:
    """T3: what each call of the event method costs, the anchor's bracket, the clock's drift."""
    card = bench.card
    card.synchronize()
    costs_us: dict[str, list[float]] = {}
    for _ in range(CALLS):
        first = timed_us(bench, costs_us, "record", card.event)
        timed_us(bench, costs_us, "current_stream", card.stream)
        timed_us(bench, costs_us, "is_capturing", card.capturing)
        last = card.event()
        timed_us(bench, costs_us, "synchronize", card.synchronize)
        timed_us(bench, costs_us, "query", lambda event=last: card.passed(event))
        timed_us(bench, costs_us, "elapsed_time", lambda a=first, b=last: card.elapsed_ms(a, b))
    results = [row for name, took in costs_us.items() for row in spread("T3", name, took, "µs")]
    brackets_us, moments_ns, anchors = [], [], []
    for _ in range(20):
        before_ns = bench.clock_ns()
        anchors.append(card.event())
        card.synchronize()
        after_ns = bench.clock_ns()
        brackets_us.append((after_ns - before_ns) / 1e3)
        moments_ns.append((before_ns + after_ns) / 2)
        bench.sleep_s(1.0)
    line = fit_clock([card.elapsed_ms(anchors[0], one) for one in anchors], moments_ns)
    return [
        *results,
        *spread("T3", "anchor's bracket, idle", brackets_us, "µs"),
        Result("T3", "drift of the clock over 20 s", line.drift_ppm, "ppm", len(anchors)),
        Result("T3", "worst residual of that line", line.worst_us, "µs", len(anchors)),
    ]


def timed_us(
    bench: Bench, costs_us: dict[str, list[float]], name: str, call: Callable[[], Any]
) -> Any:
    """Call, and keep how long it took."""
    t0_ns = bench.clock_ns()
    answer = call()
    costs_us.setdefault(name, []).append((bench.clock_ns() - t0_ns) / 1e3)
    return answer


def aliasing(bench: Bench) -> list[Result]:
    """T4: square waves whose energy is known up to two constants, against the counter."""
    shapes = [
        (period_ms, phase)
        for period_ms in PERIODS_MS
        for phase in (PHASES if period_ms == 100 else (0.0,))
    ]
    waves = [square_wave(bench, period_ms, phase) for period_ms, phase in shapes]
    waves.append(square_wave(bench, 100, 0.0, duty=0.0))
    model = fit_work(waves)
    results = [
        Result("T4", f"residual of {wave.name}", percent, "%", wave.units)
        for wave, percent in zip(waves, model.residual_percent, strict=True)
    ]
    return [
        *results,
        Result("T4", "power at rest, fitted", model.rest_w, "W", len(waves)),
        Result("T4", "energy of a unit of work, fitted", model.unit_j, "J", len(waves)),
        Result("T4", "worst residual (<= 1: full-time)", model.worst_percent, "%", len(waves)),
    ]


def square_wave(bench: Bench, period_ms: float, phase: float, duty: float = 0.5) -> Wave:
    """Work for a part of each period, between two changes of the counter at rest.

    The wave starts a chosen part of its period after a change of the counter, so that one with
    the refresh's own period keeps its phase against it.
    """
    first = next_change(bench)
    units = bench.units_in(duty * period_ms / 1e3) if duty else 0
    begin_ns = first.t1_ns + phase * period_ms * MS
    periods = max(1, round(bench.seconds * 1e3 / period_ms))
    for turn in range(periods):
        bench.until(begin_ns + turn * period_ms * MS)
        if units:
            bench.card.heavy(units)
            bench.card.synchronize()
    bench.until(begin_ns + periods * period_ms * MS)
    bench.sleep_s(SETTLE_S)
    last = next_change(bench)
    named = f"{period_ms:g} ms, phase {phase:g}" if duty else "no work"
    seconds = (last.t1_ns - first.t1_ns) / 1e9
    return Wave(named, seconds, units * periods, last.value - first.value)


def next_change(bench: Bench) -> Seen:
    """Wait for the counter's next new value; read often, because it dates the wave."""
    old = bench.see(bench.meter.energy_j)
    give_up_ns = old.t1_ns + GIVE_UP_S * 1e9
    while True:
        bench.sleep_s(POLL_S / 4)
        new = bench.see(bench.meter.energy_j)
        if new.value != old.value:
            return new
        if new.t1_ns > give_up_ns or math.isnan(new.value):
            raise ValueError(f"the energy counter stands at {new.value} J")
