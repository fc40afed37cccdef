"""What one look at a running job shows: plain numbers that the sampler's process fills in."""

from __future__ import annotations

import bisect
import dataclasses
import math
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

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

    def to_json(self) -> dict[str, Any]:
        """Bounds, counts by bucket (not cumulative), sum and exemplars, as JSON can hold them."""
        with self._lock:
            return {
                "uppers": self._uppers[:-1],
                "counts": list(self._counts),
                "sum": self._sum,
                "exemplars": [None if one is None else list(one) for one in self._exemplars],
            }

    @classmethod
    def from_parts(
        cls,
        uppers: list[float],
        counts: list[int],
        total: float,
        exemplars: list[tuple[float, int, float] | None],
    ) -> StepHistogram:
        """Rebuild from what ``to_json`` told, checked by the caller.

        Args:
            uppers: Finite upper bounds, rising.
            counts: Steps by bucket, one more than bounds.
            total: Sum of all values.
            exemplars: Value, step and Unix time by bucket; None where there is none.
        """
        histogram = cls(first=1.0, buckets=0)
        histogram._uppers = [*uppers, math.inf]
        histogram._counts, histogram._exemplars = counts, exemplars
        histogram._sum = total
        return histogram

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


class Bounds(NamedTuple):
    """A number that is not known exactly: lower bound, best guess, upper bound; NaN is unknown."""

    low: float
    mid: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """Latest figures of one device; None or NaN where nothing is known.

    Attributes:
        device: Short name, unique in the rank: ``gpu0``, ``cpu-package-0``, ``dram-0``.
        kind: ``gpu``, ``cpu``, ``dram`` or ``other``.
        key: Identity by which a device that several ranks see is counted once; empty is unknown.
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
    key: str = ""
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
    """What one scrape shows of one rank, at one moment; None or NaN where nothing is known.

    Counters count from the start of this attempt: a counter carried over from a checkpoint would
    be counted twice by ``increase()``.

    Attributes:
        run_id: The run.
        attempt: Which start of the run this is, from 0.
        rank: Global rank whose figures these are.
        info: Labels of ``greenai_run_info``; one that is missing is empty.
        devices: Devices that this rank meters.
        host_energy_j: Energy of the whole machine by meter, beside the devices and in no sum.
        steps: Optimizer steps settled.
        batches: Batches of these steps.
        samples: Samples of these steps.
        tokens: Tokens of these steps.
        flops: Model FLOPs of these steps.
        emissions_g: Operational gCO2e, PUE and intensity taken at the time of use.
        embodied_g: Share of the hardware's making that the time so far stands for, in gCO2e.
        intensity_g_per_kwh: Carbon intensity in use.
        intensity_region: Where it holds.
        intensity_source: Who says so.
        pue: Power usage effectiveness in use.
        epoch: Epoch of the latest settled step.
        global_step: Index of the latest settled step.
        loss: Loss that the training told last.
        measured_ratio: Share of the energy that was measured, not modelled or assumed.
        coverage_ratio: Share of time and devices that the energy covers.
        router_load: Share of the routers' choices by expert, a mean over routers.
        router_imbalance: Load of the fullest expert over the mean load.
        energy_budget_j: IT energy that the whole run was given; for a notice, it stops nothing.
        emissions_budget_g: Operational emissions that the whole run was given.
        total_steps: Optimizer steps of the whole run, as far as the training knows.
        forecast_energy_j: IT energy at the end of the run, of this rank's devices.
        forecast_emissions_g: Operational emissions of that.
        forecast_cost: Money for that, in ``currency``.
        currency: Of the forecast's money.
        start_unix_s: Start of the run.
        last_sample_unix_s: Time of the latest settled reading.
        errors: Failed reads by sensor.
        overhead_cpu_s: CPU time of the process that samples.
        wake_late_p95_s: How late the sampler woke: 95th percentile of its latest wakes.
        step_energy_j: Joules per step.
        step_duration_s: Seconds per step.

    Raises:
        OrderError: ``info`` has a label that the catalogue does not.
    """

    run_id: str
    attempt: int
    rank: int = 0
    info: Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: tuple[DeviceFigures, ...] = ()
    host_energy_j: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: float | None = None
    batches: float | None = None
    samples: float | None = None
    tokens: float | None = None
    flops: float | None = None
    emissions_g: float | None = None
    embodied_g: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_region: str = ""
    intensity_source: str = ""
    pue: float | None = None
    epoch: float | None = None
    global_step: float | None = None
    loss: float | None = None
    measured_ratio: float | None = None
    coverage_ratio: float | None = None
    router_load: tuple[float | None, ...] = ()
    router_imbalance: float | None = None
    energy_budget_j: float | None = None
    emissions_budget_g: float | None = None
    total_steps: float | None = None
    forecast_energy_j: Bounds | None = None
    forecast_emissions_g: Bounds | None = None
    forecast_cost: Bounds | None = None
    currency: str = ""
    start_unix_s: float | None = None
    last_sample_unix_s: float | None = None
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    overhead_cpu_s: float | None = None
    wake_late_p95_s: float | None = None
    step_energy_j: StepHistogram | None = None
    step_duration_s: StepHistogram | None = None

    def __post_init__(self) -> None:
        """Refuse a label that no dashboard could know."""
        known = BY_NAME["greenai_run_info"].labels
        if unknown := sorted(set(self.info) - set(known)):
            raise OrderError(
                f"greenai_run_info has no label {unknown[0]!r}.", hint=f"use {', '.join(known)}"
            )
