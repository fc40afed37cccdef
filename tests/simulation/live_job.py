"""A job whose rows are made up, so that hours of live figures pass in seconds."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from time import monotonic_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from greenai.live.handover import attempt_facts, run_facts
from greenai.live.launch import launch
from greenai.live.shared import Region
from greenai.record.types import CHANGE, FIXED_NAMES, NOTE, STEP_END, VALUE
from greenai.sensors.base import Channel
from greenai.serving import Serving
from greenai.settings import Settings

if TYPE_CHECKING:
    from greenai.exporters.figures import Figures

S = 1_000_000_000
WATTS = 500.0
GAUGES = ("power_limit_w", "utilization_ratio", "memory_used_bytes", "temperature_c")
_IDS = {name: position for position, name in enumerate(FIXED_NAMES)}


class LiveJob:
    """GPUs of a constant power, steps of one length, and what the sampler serves of them.

    Args:
        gpus: How many.
        steps_per_s: Whole steps in a second.
        reads_per_s: How often each counter changes in a second.
    """

    def __init__(self, *, gpus: int = 8, steps_per_s: int = 10, reads_per_s: int = 10) -> None:
        settings = Settings(country="FRA", pue=1.2, total_steps=1e9, budget_kwh=100.0)
        folder = Path(tempfile.mkdtemp(prefix="greenai-live-"))
        attempt = folder / "rank-0" / "attempt-a"
        attempt.mkdir(parents=True)
        own = launch({})
        config: dict[str, Any] = {
            "run": run_facts("a" * 32, settings, {}),
            "manifest": attempt_facts("a" * 32, own, settings, "pytorch 2"),
            "metrics_port": None,
            "run_folder": str(folder),
            "attempt_folder": str(attempt),
        }
        self.region = Region.create(config)
        self.serving = Serving(self.region, config)
        self.steps = 0
        self._steps_per_s, self._reads_per_s = steps_per_s, reads_per_s
        self._now_ns = monotonic_ns()
        self._channels = [self._channel(gpu, "energy_j") for gpu in range(gpus)]
        self._channels += [self._channel(gpu, name) for gpu in range(gpus) for name in GAUGES]
        self._gpus = gpus
        self._sampler = SimpleNamespace(
            sensing=[],
            started_ns=self._now_ns,
            errors={"nvml": 0},
            late_p95_s=lambda: 0.0002,
            ask=self.settle,
            say=lambda *_: None,
        )
        begin = [(self._now_ns, NOTE, _IDS["train_start"], 0, 0.0)]
        self.serving.add_channels(self._channels)
        self.serving.feed([], begin, FIXED_NAMES)

    def run(self, seconds: int) -> None:
        """Let the job go on, with the sampler settling every second."""
        for _ in range(seconds):
            self.feed()
            self.settle()

    def feed(self) -> None:
        """Hand over the rows of one more second."""
        start_ns = self._now_ns
        self._now_ns += S
        self.serving.feed(self._readings(start_ns), self._marks(start_ns), FIXED_NAMES)

    def settle(self) -> None:
        """Bring the figures up to date."""
        self.serving.settle(self._sampler)  # type: ignore[arg-type] # looks like a sampler
        self.serving._settled_ns = 0  # a second of its own clock has passed

    def as_ranks(self, ranks: int) -> list[Figures]:
        """The figures as if each GPU were another rank's, of a model with 64 experts."""
        (own, *_) = self.serving.figures()
        phases = ("setup", "train_step", "data_wait", "validation", "checkpoint", "other")
        gpu = dataclasses.replace(own.devices[0], energy_j_by_phase=dict.fromkeys(phases, 1234.567))
        return [
            dataclasses.replace(
                own,
                rank=rank,
                devices=(dataclasses.replace(gpu, key=f"{gpu.key}{rank}"),),
                router_load=(1 / 64,) * 64,
                router_imbalance=1.0,
            )
            for rank in range(ranks)
        ]

    def _channel(self, gpu: int, quantity: Any) -> Channel:
        return Channel(
            quantity, "gpu", f"gpu{gpu}", f"GPU-{gpu:08x}-1111-2222-3333-444444444444",
            "nvml_energy", "measured", quantity == "energy_j", refresh_ns=S // 10,
            power_max_w=700.0, model="NVIDIA H100 80GB HBM3", vendor="NVIDIA",
        )  # fmt: skip

    def _readings(self, start_ns: int) -> list[tuple[int, int, int, float, int]]:
        rows = []
        for read in range(1, self._reads_per_s + 1):
            t_ns = start_ns + read * S // self._reads_per_s
            energy_j = WATTS * (t_ns % 2**52) / S
            rows += [(gpu, t_ns - 1000, t_ns, energy_j, CHANGE) for gpu in range(self._gpus)]
        rows += [
            (position, start_ns, start_ns + S, 0.5, CHANGE)
            for position in range(self._gpus, len(self._channels))
        ]
        return rows

    def _marks(self, start_ns: int) -> list[tuple[int, int, int, int, float]]:
        rows = []
        for step in range(1, self._steps_per_s + 1):
            t_ns = start_ns + step * S // self._steps_per_s
            facts = {"tokens": 8192.0, "samples": 8.0, "loss": 2.0 + math.sin(self.steps)}
            rows += [(t_ns, VALUE, _IDS[name], self.steps, fact) for name, fact in facts.items()]
            rows.append((t_ns, STEP_END, 0, self.steps, 1.0))
            self.steps += 1
        return rows
