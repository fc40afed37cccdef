"""What the sampler's process makes of the rows: running totals, live.json and /metrics."""

from __future__ import annotations

import gc
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai import grid
from greenai.analysis.running import RunningAttribution
from greenai.analysis.series import SILENCE_NS
from greenai.exporters.figures import DeviceFigures, Figures, StepHistogram
from greenai.exporters.live_file import figures_to_json
from greenai.live.clock import anchor, monotonic_ns
from greenai.live.shared import METRICS_PORT, STOP_ASKED, Totals
from greenai.metrics import BY_NAME, PHASES
from greenai.outlets import are_wanted
from greenai.units import NS_PER_S, emissions_g

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.analysis.pending import SettledStep
    from greenai.analysis.running import MarkRow, ReadingRow
    from greenai.live.sampler import Sampler
    from greenai.live.shared import Region
    from greenai.outgoing import Outgoing
    from greenai.sensors.base import Channel

OPENING_S = 10.0
"""A sensor that has not opened by then is no longer waited for with settling."""
ASKED_WAIT_S = 0.1
"""A scrape waits no longer than this for newer figures."""
_IN_STEPS = [PHASES.index("train_step"), PHASES.index("data_wait")]
_GAUGES = ("power_limit_w", "utilization_ratio", "memory_used_bytes", "temperature_c")


class Serving:
    """Figures of a running attempt; lives in the sampler's process.

    Args:
        region: Shared memory, for the port that is served.
        config: What the training handed over.
    """

    def __init__(self, region: Region, config: dict[str, Any]) -> None:
        settings = config["run"]["settings"]
        self._region = region
        self._config = config
        self._intensity = grid.intensity(
            *(settings[name]["value"] for name in ("country", "region", "intensity_table"))
        )
        self._pue: float | None = settings["pue"]["value"]
        self._running = RunningAttribution()
        self._channels: list[Channel] = []
        self._latest: dict[tuple[str, str], tuple[float, int]] = {}
        self._totals = Totals()
        self._steps = 0
        self._sums = {"batches": 0.0, "tokens": 0.0, "samples": 0.0, "flops": 0.0}
        self._last_step: SettledStep | None = None
        self._step_energy_j = StepHistogram.of_energy()
        self._step_duration_s = StepHistogram.of_duration()
        self._errors: dict[str, float] = {}
        self._started = anchor()
        self._continues = Path(config["attempt_folder"], "manifest.json").exists()
        """A predecessor died: what it had summed is in the record, and totals are unknown here."""
        launches = list(Path(config["run_folder"], "launches").glob("*/"))
        self._attempt = max(0, len(launches) - 1)
        self._figures = self._new_figures()
        self._ask: Callable[[], None] | None = None
        self._settled = threading.Event()
        self._outgoing: Outgoing | None = None
        if are_wanted(config):
            from greenai.outgoing import Outgoing  # noqa: PLC0415 - takes megabytes

            self._outgoing = Outgoing(self.figures, config)
            port = self._outgoing.port
            self._region.header[METRICS_PORT] = 1 << 32 if port is None else port
        gc.collect()
        gc.freeze()

    def add_channels(self, channels: list[Channel]) -> None:
        """Take the channels known so far."""
        self._channels = channels
        self._running.add_channels(channels)

    def feed(
        self, readings: list[ReadingRow], marks: list[MarkRow], names: tuple[str, ...]
    ) -> None:
        """Take new rows."""
        for position, _, _, value, _ in readings:
            channel = self._channels[position]
            if channel.quantity in _GAUGES or not channel.primary:
                self._latest[channel.device, channel.quantity] = (value, monotonic_ns())
        self._running.feed(readings, marks, names)

    def settle(self, sampler: Sampler, *, closed: bool = False) -> Totals:
        """Bring the figures up to date and return the totals."""
        opening = any(thread.opening for thread in sampler.sensing)
        age_s = (monotonic_ns() - sampler.started_ns) / NS_PER_S
        wait = opening and age_s < OPENING_S and not closed
        for step in self._running.settle(closed=closed, wait=wait):
            self._take(step)
        self._errors = {name: float(count) for name, count in sampler.errors.items()}
        self._totals = self._new_totals(closed=closed)
        self._figures = self._new_figures()
        self._ask = sampler.ask
        self._settled.set()
        while self._outgoing is not None and self._outgoing.troubles:
            sampler.say("delivery_failed", self._outgoing.troubles.popleft())
        return self._totals

    def live(self) -> dict[str, Any]:
        """Content of live.json: the totals, for other processes; None where unknown."""
        totals = self._totals
        plain: dict[str, Any] = {
            name: _known(getattr(totals, name)) for name in Totals.__slots__ if name != "closed"
        }
        gc.collect(1)  # here, after a flush, and never inside a tick
        return {
            "run_id": self._config["run"]["run_id"],
            "written_utc_ns": time.time_ns(),
            "closed": totals.closed,
            "metrics_port": int(self._region.header[METRICS_PORT]) or None,
            **plain,
            "figures": figures_to_json(self._figures),
        }

    def figures(self) -> Figures:
        """What one scrape shows, settled now by the sampler's own loop.

        Figures as of the last regular settling would be up to a second old, by turns more and less:
        at 15 s a scrape, ``rate`` over a minute would be off by 2 %.
        """
        if self._ask is not None and not self._totals.closed:
            self._settled.clear()
            self._ask()
            self._settled.wait(ASKED_WAIT_S)
        return self._figures

    def close(self) -> None:
        """Begin to carry the final totals out; ``finish`` waits for that."""
        if self._outgoing is not None:
            self._outgoing.end(quickly=self._is_awaited())

    def finish(self) -> None:
        """Wait until the final totals are out, where they are carried at all; then stop serving."""
        if self._outgoing is not None:
            self._outgoing.finish(quickly=self._is_awaited())

    def _is_awaited(self) -> bool:
        """Whether the training waits for the end of this process."""
        return int(self._region.header[STOP_ASKED]) > 1

    def _take(self, step: SettledStep) -> None:
        self._steps += 1
        self._last_step = step
        for name in self._sums:
            self._sums[name] += getattr(step, name)
        self._step_energy_j.observe(step.energy_j, step.index)
        self._step_duration_s.observe(step.duration_s, step.index)

    def _new_totals(self, *, closed: bool) -> Totals:
        running, last = self._running, self._last_step
        if self._continues:
            return Totals(closed=closed)
        if not running.channels or running.settled_ns is None:
            return Totals(steps=float(self._steps), closed=closed)
        energy_j = float(running.settled_j.sum())
        open_j = 0.0 if closed else running.open_j(monotonic_ns())
        return Totals(
            energy_j=energy_j,
            energy_low_j=energy_j,
            energy_high_j=energy_j + open_j,
            power_w=sum(running.power_w),
            operational_co2e_g=emissions_g(
                energy_j, self._intensity.g_per_kwh, 1.0 if self._pue is None else self._pue
            ),
            steps_j=float(running.phase_j[:, _IN_STEPS].sum()),
            tokens=self._sums["tokens"],
            samples=self._sums["samples"],
            steps=float(self._steps),
            settled_step=math.nan if last is None else float(last.index),
            settled_ns=float(running.settled_ns),
            closed=closed,
        )

    def _new_figures(self) -> Figures:
        last, totals = self._last_step, self._totals
        known_ns = totals.settled_ns
        since_start_ns = known_ns - self._started.monotonic_ns
        return Figures(
            run_id=self._config["run"]["run_id"],
            attempt=self._attempt,
            rank=self._config["manifest"]["rank"],
            info=self._info(),
            devices=tuple(self._device(place) for place in range(len(self._running.channels))),
            steps=float(self._steps),
            emissions_g=totals.operational_co2e_g,
            intensity_g_per_kwh=self._intensity.g_per_kwh,
            intensity_region=self._intensity.place,
            intensity_source=self._intensity.source,
            pue=self._pue,
            epoch=math.nan if last is None else last.epoch,
            global_step=math.nan if last is None else float(last.index),
            start_unix_s=self._started.utc_ns / NS_PER_S,
            last_sample_unix_s=(self._started.utc_ns + since_start_ns) / NS_PER_S,
            errors=self._errors,
            overhead_cpu_s=time.process_time(),
            step_energy_j=self._step_energy_j,
            step_duration_s=self._step_duration_s,
            batches=self._sums["batches"],
            tokens=self._sums["tokens"],
            samples=self._sums["samples"],
            flops=self._sums["flops"],
        )

    def _device(self, place: int) -> DeviceFigures:
        running = self._running
        channel = running.channels[place]
        energy_j = running.phase_j[place]
        read = running.power_w[place]
        latest = {name: self._fresh(channel.device, name) for name in _GAUGES}
        return DeviceFigures(
            device=channel.device,
            kind=channel.kind,
            key=channel.device_key,
            uuid=channel.device_key if channel.kind == "gpu" else "",
            model=channel.model,
            vendor=channel.vendor,
            method=channel.method,
            trust=channel.trust,
            power_w=read,
            energy_j_by_phase={
                phase: float(energy_j[position])
                for position, phase in enumerate(PHASES)
                if energy_j[position] > 0
            },
            **latest,
        )

    def _fresh(self, device: str, quantity: str) -> float | None:
        """Latest value; None where the device has been silent since."""
        value, read_ns = self._latest.get((device, quantity), (math.nan, 0))
        return value if monotonic_ns() - read_ns < SILENCE_NS else None

    def _info(self) -> dict[str, str]:
        manifest, run = self._config["manifest"], self._config["run"]
        known = {
            "project": run["project"],
            "variant": run["variant"],
            "framework": manifest["versions"]["framework"],
            "host": manifest["host"],
            "world_size": str(manifest["world_size"]),
            "version": manifest["versions"]["greenai"],
            "region": self._intensity.place,
        }
        return {name: known[name] for name in BY_NAME["greenai_run_info"].labels if name in known}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
