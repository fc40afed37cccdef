"""What one look at a running job shows: plain numbers that the sampler's process fills in."""

from __future__ import annotations

import bisect
import dataclasses
import math
import threading
import time
from typing import TYPE_CHECKING

from greenai.errors import OrderError
from greenai.metrics import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """One cumulative bucket: how many steps were at most ``upper``, and the latest that fell in.

    Attributes:
        upper: Upper bound, in the unit of the histogram; infinity for the last bucket.
        count: Steps at or below the bound.
        exemplar: Value, step index and Unix time of the latest step that fell into this bucket
            and no lower one; None before the first.
    """

    upper: float
    count: int
    exemplar: tuple[float, int, float] | None


class StepHistogram:
    """How a quantity of the steps is distributed, in exponential buckets.

    A label per step would make one time series per step; a histogram says the same in twelve
    numbers, and its exemplars name the steps.

    Args:
        first: Upper bound of the first bucket.
        factor: Ratio of one bound to the one before.
        buckets: Number of finite bounds.

    Example:
        >>> histogram = StepHistogram.of_energy()
        >>> histogram.observe(0.3, step=7)
        >>> histogram.observe(2.0, step=8)
        >>> [(bucket.upper, bucket.count) for bucket in histogram.snapshot()[0][:4]]
        [(0.1, 0), (0.4, 1), (1.6, 1), (6.4, 2)]
    """

    def __init__(self, first: float, factor: float = 4.0, buckets: int = 12) -> None:
        self._uppers = [first * factor**power for power in range(buckets)] + [math.inf]
        self._counts = [0] * len(self._uppers)
        self._exemplars: list[tuple[float, int, float] | None] = [None] * len(self._uppers)
        self._sum = 0.0
        self._lock = threading.Lock()

    @classmethod
    def of_energy(cls) -> StepHistogram:
        """Joules per step, from 0.1 J to 0.42 MJ."""
        return cls(first=0.1)

    @classmethod
    def of_duration(cls) -> StepHistogram:
        """Seconds per step, from 1 ms to 70 min."""
        return cls(first=0.001)

    def observe(self, value: float, step: int) -> None:
        """Count one settled step; an unknown (NaN) or impossible (negative) value is not counted.

        Args:
            value: In the unit of the histogram.
            step: Index of the step, for the exemplar.
        """
        if not 0 <= value < math.inf:
            return
        with self._lock:
            position = bisect.bisect_left(self._uppers, value)
            self._counts[position] += 1
            self._exemplars[position] = (value, step, time.time())
            self._sum += value

    def snapshot(self) -> tuple[list[Bucket], float]:
        """Cumulative buckets in rising order, and the sum of all values, at one moment."""
        with self._lock:
            buckets, seen = [], 0
            for upper, count, exemplar in zip(
                self._uppers, self._counts, self._exemplars, strict=True
            ):
                seen += count
                buckets.append(Bucket(upper, seen, exemplar))
            return buckets, self._sum


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """Latest figures of one device; None or NaN where nothing is known.

    Attributes:
        device: Short name, unique in the run: ``gpu0``, ``cpu-package-0``, ``dram-0``.
        kind: ``gpu``, ``cpu``, ``dram`` or ``other``.
        uuid: What other exporters call it; empty where it has none.
        model: Product name.
        vendor: Maker.
        method: How its energy is had: ``nvml_energy``, ``nvml_power``, ``rapl`` ...
        trust: ``measured``, ``modelled`` or ``assumed``.
        power_w: Latest power.
        energy_j_by_phase: Settled IT energy since this attempt began; a phase not named is unknown.
        power_limit_w: Enforced power limit.
        utilization_ratio: Share of time a kernel ran, 0 to 1.
        memory_used_bytes: Device memory in use by all jobs.
        temperature_c: Degrees Celsius.
    """

    device: str
    kind: str
    uuid: str = ""
    model: str = ""
    vendor: str = ""
    method: str = ""
    trust: str = ""
    power_w: float | None = None
    energy_j_by_phase: Mapping[str, float] = dataclasses.field(default_factory=dict)
    power_limit_w: float | None = None
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    temperature_c: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that one scrape shows, at one moment; None or NaN where nothing is known.

    Counters count from the start of this attempt: a counter carried over from a checkpoint would
    be counted twice by ``increase()``.

    Attributes:
        run_id: The run.
        attempt: Which start of the run this is, from 0.
        info: Labels of ``greenai_run_info``; one that is missing is empty.
        devices: Devices of this run on this host.
        steps: Optimizer steps settled.
        batches: Batches of these steps.
        samples: Samples of these steps.
        tokens: Tokens of these steps.
        flops: Model FLOPs of these steps.
        emissions_g: Operational gCO2e, PUE and intensity taken at the time of use.
        intensity_g_per_kwh: Carbon intensity in use.
        intensity_region: Where it holds.
        intensity_source: Who says so.
        pue: Power usage effectiveness in use.
        epoch: Epoch of the latest settled step.
        global_step: Index of the latest settled step.
        start_unix_s: Start of the run.
        last_sample_unix_s: Time of the latest settled reading.
        errors: Failed reads by sensor.
        overhead_cpu_s: CPU time of the process that samples.
        step_energy_j: Joules per step.
        step_duration_s: Seconds per step.

    Raises:
        OrderError: ``info`` has a label that the catalogue does not.
    """

    run_id: str
    attempt: int
    info: Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: tuple[DeviceFigures, ...] = ()
    steps: float | None = None
    batches: float | None = None
    samples: float | None = None
    tokens: float | None = None
    flops: float | None = None
    emissions_g: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_region: str = ""
    intensity_source: str = ""
    pue: float | None = None
    epoch: float | None = None
    global_step: float | None = None
    start_unix_s: float | None = None
    last_sample_unix_s: float | None = None
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    overhead_cpu_s: float | None = None
    step_energy_j: StepHistogram | None = None
    step_duration_s: StepHistogram | None = None

    def __post_init__(self) -> None:
        """Refuse a label that no dashboard could know."""
        known = BY_NAME["greenai_run_info"].labels
        if unknown := sorted(set(self.info) - set(known)):
            raise OrderError(
                f"greenai_run_info has no label {unknown[0]!r}.", hint=f"use {', '.join(known)}"
            )
