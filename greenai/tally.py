"""What is counted of one attempt while it goes on: energies, steps, emissions and the end ahead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai import grid
from greenai.analysis.embodied import embodied_g
from greenai.analysis.meters import RunningMeters
from greenai.analysis.outlook import Outlook
from greenai.analysis.running import RunningAttribution
from greenai.analysis.series import SILENCE_NS
from greenai.analysis.told import Told
from greenai.embodied import device_or_unknown
from greenai.emitted import emissions_of
from greenai.exporters.figures import StepHistogram
from greenai.live.clock import anchor, monotonic_ns
from greenai.live.shared import Totals
from greenai.metrics import PHASES
from greenai.units import J_PER_KWH, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.outlook import End
    from greenai.analysis.pending import SettledStep
    from greenai.analysis.running import MarkRow, ReadingRow
    from greenai.sensors.base import Channel

S_PER_HOUR = 3600.0
G_PER_KG = 1000.0
BUDGET_PERCENTS = (80, 100)
GAUGES = ("power_limit_w", "utilization_ratio", "memory_used_bytes", "temperature_c")
_IN_STEPS = [PHASES.index("train_step"), PHASES.index("data_wait")]


class Tally:
    """Counts of one attempt of one rank; every number is of this attempt alone.

    Args:
        settings: Values by name: country, region, pue, warmup_s, total_steps, price_per_kwh.
        intensity_file: CSV of the user's, if there is one.

    Raises:
        GridError: A place is unknown, or the file is none.
    """

    def __init__(self, settings: Mapping[str, Any], intensity_file: str | None) -> None:
        self.settings = settings
        self.running = RunningAttribution()
        place = (settings[name] for name in ("country", "region", "intensity_table"))
        self.emissions = emissions_of(grid.intensity(*place), settings["pue"], intensity_file)
        self.told = Told()
        self.steps = 0
        self.sums = {"batches": 0.0, "tokens": 0.0, "samples": 0.0, "flops": 0.0}
        self.known_tokens = 0.0
        """Tokens of the steps whose energy is known: the others are in no energy of steps."""
        self.last_step: SettledStep | None = None
        self.step_energy_j = StepHistogram.of_energy()
        self.step_duration_s = StepHistogram.of_duration()
        self.end: End | None = None
        """The end that is foreseen; None while nothing can be."""
        self._channels: list[Channel] = []
        self._latest: dict[tuple[str, str], tuple[float, int]] = {}
        self._meters = RunningMeters()
        self._outlook = Outlook()
        self._trained_ns: int | None = None
        self._emitting_j = 0.0
        self._emitting_ns: int | None = None

    def add_channels(self, channels: list[Channel]) -> None:
        """Take the channels known so far."""
        self._channels = channels
        self.running.add_channels(channels)

    def feed(
        self, readings: list[ReadingRow], marks: list[MarkRow], names: tuple[str, ...]
    ) -> None:
        """Take new rows."""
        for position, _, _, value, _ in readings:
            channel = self._channels[position]
            if channel.quantity in GAUGES or not channel.primary:
                self._latest[channel.device, channel.quantity] = (value, monotonic_ns())
        self._meters.feed(readings, self._channels)
        self.told.hear(marks, names)
        self.running.feed(readings, marks, names)

    def settle(self, *, closed: bool, wait: bool) -> None:
        """Attribute what no later row can change, and bring everything else up to date."""
        for step in self.running.settle(closed=closed, wait=wait):
            self._take(step)
        settled_ns = self.running.settled_ns
        if settled_ns is None or not self.running.channels:
            return
        now = anchor()
        energy_j = float(self.running.settled_j.sum())
        begin_ns = self._emitting_ns or self.running.begin_ns or settled_ns
        to_utc_ns = now.utc_ns - now.monotonic_ns
        self.emissions.add(
            energy_j - self._emitting_j, begin_ns + to_utc_ns, settled_ns + to_utc_ns
        )
        self._emitting_j, self._emitting_ns = energy_j, settled_ns
        if self._trained_ns is not None:
            warm_ns = self._trained_ns + self.settings["warmup_s"] * NS_PER_S
            if settled_ns >= warm_ns:
                self._outlook.add(float(self.steps), energy_j)
        self.end = self._foreseen(now.utc_ns)

    def totals(self, *, closed: bool) -> Totals:
        """What is settled, for shared memory."""
        running, last = self.running, self.last_step
        if not running.channels or running.settled_ns is None:
            return Totals(steps=float(self.steps), closed=closed)
        energy_j = float(running.settled_j.sum())
        open_j = 0.0 if closed else running.open_j(monotonic_ns())
        unknown = (math.nan,) * 3
        ahead = self.end
        return Totals(
            energy_j=energy_j,
            energy_low_j=energy_j,
            energy_high_j=energy_j + open_j,
            power_w=sum(running.power_w),
            operational_co2e_g=self.emissions.grams,
            steps_j=float(running.phase_j[:, _IN_STEPS].sum()),
            tokens=self.sums["tokens"],
            known_tokens=self.known_tokens,
            samples=self.sums["samples"],
            steps=float(self.steps),
            settled_step=math.nan if last is None else float(last.index),
            settled_ns=float(running.settled_ns),
            **_bounds("energy", "_j", unknown if ahead is None else ahead.energy_j),
            **_bounds("co2e", "_g", unknown if ahead is None else ahead.emissions_g),
            **_bounds("cost", "", unknown if ahead is None else ahead.cost),
            closed=closed,
        )

    def notices(self, *, with_budgets: bool) -> dict[str, str]:
        """Sentences for the record by a word of theirs; each is to be said once.

        Args:
            with_budgets: Whether this process meters all of the run, so that what it has used can
                be held against a budget. Of a run of many, Prometheus sums and its rules speak.
        """
        word, sentence = self.emissions.shortfall()
        said = {word: sentence} if word else {}
        if not with_budgets:
            return said
        spent = {
            "budget_kwh": (self._emitting_j / J_PER_KWH, "kWh of IT energy"),
            "budget_kg": (self.emissions.grams / G_PER_KG, "kg CO2e"),
        }
        for name, (used, unit) in spent.items():
            budget = self.settings[name]
            for percent in BUDGET_PERCENTS:
                if budget is not None and used >= budget * percent / 100:
                    said[f"{name}_{percent}"] = (
                        f"{used:.3g} of {budget:g} {unit} are used, {percent} % of the budget or "
                        "more; nothing is stopped"
                    )
        return said

    def planned_steps(self) -> float:
        """Optimizer steps of the whole run: as the training told, else as set; NaN is unknown."""
        if math.isfinite(self.told.planned_steps):
            return self.told.planned_steps
        given = self.settings["total_steps"]
        return math.nan if given is None else float(given)

    def host_energy_j(self) -> dict[str, float]:
        """Energy of the whole machine by meter."""
        return self._meters.energy_j(monotonic_ns())

    def fresh(self, device: str, quantity: str) -> float | None:
        """Latest value; None where the device has been silent since."""
        value, read_ns = self._latest.get((device, quantity), (math.nan, 0))
        return value if monotonic_ns() - read_ns < SILENCE_NS else None

    def measured_ratio(self) -> float:
        """Share of the settled energy that is measured; NaN where there is none."""
        settled_j = self.running.settled_j
        total_j = float(settled_j.sum())
        measured_j = sum(
            float(energy_j)
            for channel, energy_j in zip(self.running.channels, settled_j, strict=True)
            if channel.trust == "measured"
        )
        return min(1.0, measured_j / total_j) if total_j > 0 else math.nan

    def coverage_ratio(self) -> float:
        """Share of the settled time and devices that readings cover; NaN without devices."""
        running = self.running
        if running.settled_ns is None or running.begin_ns is None:
            return math.nan
        wanted_ns = (running.settled_ns - running.begin_ns) * len(running.channels)
        return float(running.covered_ns.sum()) / wanted_ns if wanted_ns > 0 else math.nan

    def embodied_g(self) -> float:
        """Share of making the GPUs that the settled time stands for; NaN where one is unknown."""
        running = self.running
        if running.settled_ns is None or running.begin_ns is None:
            return math.nan
        hours = (running.settled_ns - running.begin_ns) / NS_PER_S / S_PER_HOUR
        gpus = [one for one in running.channels if one.kind == "gpu"]
        return embodied_g([device_or_unknown(one.model) for one in gpus], hours).mid

    def _take(self, step: SettledStep) -> None:
        self.steps += 1
        self.last_step = step
        if self._trained_ns is None:
            self._trained_ns = self.running.settled_ns
        for name in self.sums:
            self.sums[name] += getattr(step, name)
        if math.isfinite(step.energy_j):
            self.known_tokens += step.tokens
        self.step_energy_j.observe(step.energy_j, step.index)
        self.step_duration_s.observe(step.duration_s, step.index)

    def _foreseen(self, utc_ns: int) -> End | None:
        if self.last_step is None:
            return None
        price = self.settings["price_per_kwh"]
        return self._outlook.end(
            self.planned_steps() - (self.last_step.index + 1),
            emitted_g=self.emissions.grams,
            g_per_kwh=self.emissions.present(utc_ns).g_per_kwh,
            pue=self.settings["pue"],
            price_per_kwh=math.nan if price is None else price,
        )


def _bounds(of: str, unit: str, three: tuple[float, float, float]) -> dict[str, float]:
    names = (f"forecast_{of}{bound}{unit}" for bound in ("_low", "", "_high"))
    return dict(zip(names, three, strict=True))
