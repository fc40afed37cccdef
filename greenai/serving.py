"""What the sampler's process makes of the rows: running totals, live.json and /metrics."""

from __future__ import annotations

import gc
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.analysis.node import ALL_NODES
from greenai.exporters.figures import Bounds, DeviceFigures, Figures
from greenai.exporters.live_file import figures_to_json
from greenai.live.clock import anchor, monotonic_ns
from greenai.live.shared import DELIVERY_FAILS, METRICS_PORT, STOP_ASKED, Totals
from greenai.local_ranks import LocalRanks
from greenai.metrics import BY_NAME, PHASES
from greenai.outlets import are_wanted
from greenai.tally import G_PER_KG, GAUGES, Tally
from greenai.units import J_PER_KWH, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.analysis.running import MarkRow, ReadingRow
    from greenai.live.sampler import Sampler
    from greenai.live.shared import Region
    from greenai.outgoing import Outgoing
    from greenai.sensors.base import Channel

OPENING_S = 10.0
"""A sensor that has not opened by then is no longer waited for with settling."""
ASKED_WAIT_S = 0.1
"""A scrape waits no longer than this for newer figures."""


class Serving:
    """Figures of a running attempt; lives in the sampler's process.

    Args:
        region: Shared memory, for the port that is served.
        config: What the training handed over.

    Raises:
        GridError: The intensity file has changed since the training checked it, and is none.
    """

    def __init__(self, region: Region, config: dict[str, Any]) -> None:
        self._settings = {name: one["value"] for name, one in config["run"]["settings"].items()}
        self._region = region
        self._config = config
        self._tally = Tally(self._settings, config.get("intensity_file"))
        self._totals = Totals()
        self._errors: dict[str, float] = {}
        self._said: set[str] = set()
        self._late_s = math.nan
        self._started = anchor()
        self._continues = Path(config["attempt_folder"], "manifest.json").exists()
        """A predecessor died: what it had summed is in the record, and totals are unknown here."""
        launches = list(Path(config["run_folder"], "launches").glob("*/"))
        self._attempt = max(0, len(launches) - 1)
        self._figures: Figures | None = self._new_figures()
        self._live: dict[str, Any] = {}
        self._others = LocalRanks(Path(config["attempt_folder"]), config["manifest"]["host"])
        self._ask: Callable[[], None] | None = None
        self._settled = threading.Event()
        self._outgoing: Outgoing | None = None
        if are_wanted(config):
            from greenai.outgoing import Outgoing  # noqa: PLC0415 - takes megabytes

            self._outgoing = Outgoing(
                self.figures, self._at_the_same_port(), others_closed=self._others.are_closed
            )
            port = self._outgoing.port
            self._region.header[METRICS_PORT] = 1 << 32 if port is None else port
        gc.collect()
        gc.freeze()

    def _at_the_same_port(self) -> dict[str, Any]:
        """Serve where a predecessor did: to Prometheus it stays one target, and its alert holds."""
        port = int(self._region.header[METRICS_PORT])
        is_told = self._config["metrics_port"] is not None and 0 < port < 1 << 16
        return {**self._config, "metrics_port": port} if is_told else self._config

    def add_channels(self, channels: list[Channel]) -> None:
        """Take the channels known so far."""
        self._tally.add_channels(channels)

    def feed(
        self, readings: list[ReadingRow], marks: list[MarkRow], names: tuple[str, ...]
    ) -> None:
        """Take new rows."""
        self._tally.feed(readings, marks, names)

    def settle(self, sampler: Sampler, *, closed: bool = False) -> Totals:
        """Bring the figures up to date and return the totals."""
        opening = any(thread.opening for thread in sampler.sensing)
        age_s = (monotonic_ns() - sampler.started_ns) / NS_PER_S
        self._tally.settle(closed=closed, wait=opening and age_s < OPENING_S and not closed)
        alone = self._config["manifest"]["world_size"] == 1
        for word, sentence in self._tally.notices(with_budgets=alone).items():
            if word not in self._said:
                self._said.add(word)
                sampler.say(word, sentence)
        self._errors = {name: float(count) for name, count in sampler.errors.items()}
        self._late_s = sampler.late_p95_s()
        self._totals = (
            Totals(closed=closed) if self._continues else self._tally.totals(closed=closed)
        )
        figures = self._figures = self._new_figures()
        self._live = self._new_live(self._totals, figures)
        self._ask = sampler.ask
        self._settled.set()
        while self._outgoing is not None and self._outgoing.troubles:
            self._region.header[DELIVERY_FAILS] = 1
            sampler.say("delivery_failed", self._outgoing.troubles.popleft())
        return self._totals

    def live(self) -> dict[str, Any]:
        """Content of live.json: the totals, for other processes; None where unknown."""
        gc.collect(1)  # here, after a flush, and never inside a tick
        return {**self._live, "written_utc_ns": time.time_ns()}

    def give_up(self) -> None:
        """Show nothing of this rank from now on: what is there would grow old and look alive."""
        self._figures = None

    def figures(self) -> list[Figures]:
        """What one scrape shows: this rank, settled now by its own loop, and the host's others.

        Figures as of the last regular settling would be up to a second old, by turns more and less:
        at 15 s a scrape, ``rate`` over a minute would be off by 2 %. Only the tail since the last
        settling is new, so that a scrape costs the same however long the run is.
        """
        if self._ask is not None and self._figures is not None and not self._totals.closed:
            self._settled.clear()
            self._ask()
            self._settled.wait(ASKED_WAIT_S)
        own = self._figures
        return [*([] if own is None else [own]), *self._others.figures()]

    def close(self) -> None:
        """Leave the figures as they are now; ``finish`` carries them out."""

    def finish(self) -> None:
        """Carry the final totals out, where that was asked for; then stop serving."""
        if self._outgoing is not None:
            is_awaited = int(self._region.header[STOP_ASKED]) > 1
            self._outgoing.finish(quickly=is_awaited)

    def _new_live(self, totals: Totals, figures: Figures) -> dict[str, Any]:
        plain: dict[str, Any] = {
            name: _known(getattr(totals, name)) for name in Totals.__slots__ if name != "closed"
        }
        return {
            "run_id": self._config["run"]["run_id"],
            "closed": totals.closed,
            "metrics_port": int(self._region.header[METRICS_PORT]) or None,
            **plain,
            "figures": figures_to_json(figures),
        }

    def _new_figures(self) -> Figures:
        tally, settings = self._tally, self._settings
        last, running = tally.last_step, tally.running
        settled_ns = (
            self._started.monotonic_ns if running.settled_ns is None else running.settled_ns
        )
        since_start_ns = settled_ns - self._started.monotonic_ns
        present = tally.emissions.present(time.time_ns())
        budget_kwh, budget_kg = settings["budget_kwh"], settings["budget_kg"]
        return Figures(
            run_id=self._config["run"]["run_id"],
            attempt=self._attempt,
            rank=self._config["manifest"]["rank"],
            info=self._info(present.place),
            devices=tuple(self._device(place) for place in range(len(running.channels))),
            host_energy_j=self._host_energy_j(),
            steps=float(tally.steps),
            batches=tally.sums["batches"],
            tokens=tally.sums["tokens"],
            samples=tally.sums["samples"],
            flops=tally.sums["flops"],
            emissions_g=tally.emissions.grams if running.channels else None,
            embodied_g=tally.embodied_g(),
            intensity_g_per_kwh=present.g_per_kwh,
            intensity_region=present.place,
            intensity_source=present.source,
            pue=settings["pue"],
            epoch=math.nan if last is None else last.epoch,
            global_step=math.nan if last is None else float(last.index),
            loss=tally.told.loss,
            measured_ratio=tally.measured_ratio(),
            coverage_ratio=tally.coverage_ratio(),
            router_load=tally.told.router_load(),
            router_imbalance=tally.told.router_imbalance,
            energy_budget_j=None if budget_kwh is None else budget_kwh * J_PER_KWH,
            emissions_budget_g=None if budget_kg is None else budget_kg * G_PER_KG,
            total_steps=tally.planned_steps(),
            forecast_energy_j=None if tally.end is None else Bounds(*tally.end.energy_j),
            forecast_emissions_g=None if tally.end is None else Bounds(*tally.end.emissions_g),
            forecast_cost=None if tally.end is None else Bounds(*tally.end.cost),
            currency=settings["currency"],
            start_unix_s=self._started.utc_ns / NS_PER_S,
            last_sample_unix_s=(self._started.utc_ns + since_start_ns) / NS_PER_S
            if running.settled_ns is not None
            else None,
            errors=self._errors,
            overhead_cpu_s=time.process_time(),
            wake_late_p95_s=self._late_s,
            step_energy_j=tally.step_energy_j,
            step_duration_s=tally.step_duration_s,
        )

    def _host_energy_j(self) -> dict[str, float]:
        """Energy by meter of the machine; a meter of all machines at once is rank 0's to show."""
        first = self._config["manifest"]["rank"] == 0
        sums_j = self._tally.host_energy_j()
        return {method: sum_j for method, sum_j in sums_j.items() if first or method != ALL_NODES}

    def _device(self, place: int) -> DeviceFigures:
        running = self._tally.running
        channel = running.channels[place]
        energy_j = running.phase_j[place]
        latest = {name: self._tally.fresh(channel.device, name) for name in GAUGES}
        return DeviceFigures(
            device=channel.device,
            kind=channel.kind,
            key=channel.device_key,
            uuid=channel.device_key if channel.kind == "gpu" else "",
            model=channel.model,
            vendor=channel.vendor,
            method=channel.method,
            trust=channel.trust,
            power_w=running.power_w[place],
            energy_j_by_phase={
                phase: float(energy_j[position])
                for position, phase in enumerate(PHASES)
                if energy_j[position] > 0
            },
            power_limit_w=latest["power_limit_w"],
            utilization_ratio=latest["utilization_ratio"],
            memory_used_bytes=latest["memory_used_bytes"],
            temperature_c=latest["temperature_c"],
        )

    def _info(self, place: str) -> dict[str, str]:
        manifest, run = self._config["manifest"], self._config["run"]
        known = {
            "project": run["project"],
            "variant": run["variant"],
            "framework": manifest["versions"]["framework"],
            "host": manifest["host"],
            "world_size": str(manifest["world_size"]),
            "version": manifest["versions"]["greenai"],
            "region": place,
        }
        return {name: known[name] for name in BY_NAME["greenai_run_info"].labels if name in known}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
