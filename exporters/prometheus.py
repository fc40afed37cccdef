"""Shows the latest figures of a run to Prometheus: the only place that knows its client library."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from greenai.exporters.endpoint import Access, Endpoint, Page, Request, listen
from greenai.exporters.exposition import TEXT_CONTENT_TYPE, openmetrics_of, text_of
from greenai.exporters.figures import DeviceFigures, Figures, StepHistogram
from greenai.exporters.ranks import counted_once
from greenai.metrics import BY_NAME, COMMON_LABELS, FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from greenai.metrics import Family

    _NumbersOf = Callable[[Figures], list[tuple[tuple[str, ...], float | None]]]
    _Collect = Callable[[], Figures | Sequence[Figures]]

__all__ = [
    "DeviceFigures",
    "Endpoint",
    "Figures",
    "StepHistogram",
    "label_text",
    "registry_of",
    "serve",
]

LABEL_CHARACTERS_MAX = 200
METRICS_PATH = "/metrics"
SERIES_KEPT_MAX = 20_000
"""Counters whose highest value is remembered; beyond it those of runs that are gone are let go."""


def serve(
    collect: _Collect,
    address: str = "127.0.0.1",
    *,
    port: int,
    access: Access | None = None,
    strict_port: bool = False,
) -> Endpoint:
    """Serve ``/metrics`` from daemon threads, as text or as OpenMetrics, whichever is asked for.

    Args:
        collect: Gives the latest figures, of one rank or of several; called once a scrape, from
            another thread.
        address: Address to bind; the default keeps the figures on this machine.
        port: Port to begin with; where it is taken the next free one, 0 any free one.
        access: Who may read; None is everyone on this machine.
        strict_port: Whether a port that is taken is an error.

    Returns:
        The endpoint: ``port``, ``url``, ``warning`` (empty where all is well) and ``close()``.

    Raises:
        OrderError: The address cannot be bound at all, or is open to others without a token.

    Example:
        >>> endpoint = serve(lambda: Figures(run_id="demo", attempt=0), port=0)
        >>> endpoint.warning
        ''
        >>> endpoint.close()
    """
    page = metrics_page(registry_of(collect))
    return listen(
        {METRICS_PATH: page}, address=address, port=port, access=access, strict_port=strict_port
    )


def metrics_page(registry: CollectorRegistry) -> Callable[[Request], Page]:
    """Make what answers a scrape: text, or OpenMetrics for who accepts it."""

    def page(request: Request) -> Page:
        if "application/openmetrics-text" in request.accept:
            return Page(openmetrics.CONTENT_TYPE_LATEST, openmetrics_of(registry.collect()))
        return Page(TEXT_CONTENT_TYPE, text_of(registry.collect()))

    return page


def registry_of(collect: _Collect) -> CollectorRegistry:
    """Make a registry of its own whose one collector asks for the figures at every scrape.

    Args:
        collect: Gives the latest figures, of one rank or of several ranks and runs.

    Returns:
        A registry for ``generate_latest`` or ``write_to_textfile``. Unknown figures have no
        sample, counters never fall, and what several ranks know is shown once.

    Example:
        >>> registry = registry_of(lambda: Figures(run_id="demo", attempt=0, tokens=512))
        >>> registry.get_sample_value(
        ...     "greenai_tokens_total", {"run_id": "demo", "attempt": "0", "rank": "0"}
        ... )
        512.0
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FiguresCollector(collect))
    return registry


def label_text(text: str) -> str:
    r"""Make a text safe as a label value: what no screen shows is escaped, the rest is cut.

    Example:
        >>> label_text("a\x1b[2Jb\ud800")
        'a\\x1b[2Jb\\ud800'
    """
    text = text[:LABEL_CHARACTERS_MAX]
    if not text.isprintable():
        text = "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
            for one in text
        )
    return text[:LABEL_CHARACTERS_MAX]


class _FiguresCollector(Collector):
    """Turns figures into the families of the catalogue."""

    def __init__(self, collect: _Collect) -> None:
        self._collect = collect
        self._highest: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Say nothing, so that registering does not ask for figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a sample."""
        with self._lock:
            found = self._collect()
            several = counted_once([found] if isinstance(found, Figures) else found)
            if len(self._highest) > SERIES_KEPT_MAX:
                runs = {_run_labels(one) for one in several}
                self._highest = {
                    series: highest
                    for series, highest in self._highest.items()
                    if series[1 : 1 + len(COMMON_LABELS)] in runs
                }
            families = [self._family(family, several) for family in FAMILIES]
        yield from (family for family in families if family.samples)

    def _family(self, family: Family, several: Sequence[Figures]) -> Metric:
        labels = (*COMMON_LABELS, *family.labels)
        if family.type == "histogram":
            return _histogram(family, labels, several)
        if family.type == "info":
            info = InfoMetricFamily(family.name.removesuffix("_info"), family.help, labels=())
            for figures in several:
                for values in _INFOS[family.name](figures):
                    texts = (*_run_labels(figures), *map(label_text, values))
                    info.add_metric((), dict(zip(labels, texts, strict=True)))
            return info
        known = (
            ((*_run_labels(figures), *map(label_text, values)), float(number))
            for figures in several
            for values, number in _NUMBERS[family.name](figures)
            if number is not None and math.isfinite(number)
        )
        if family.type == "gauge":
            gauge = GaugeMetricFamily(family.name, family.help, labels=labels, unit=family.unit)
            for texts, number in known:
                gauge.add_metric(texts, number)
            return gauge
        counter = CounterMetricFamily(family.name, family.help, labels=labels, unit=family.unit)
        for texts, number in known:
            counter.add_metric(texts, self._never_falling((family.name, *texts), number))
        return counter

    def _never_falling(self, series: tuple[str, ...], number: float) -> float:
        """Hold the highest value: a counter that falls by 1 J would be read as a restart at 0."""
        highest = self._highest[series] = max(number, self._highest.get(series, 0.0))
        return highest


def _run_labels(figures: Figures) -> tuple[str, ...]:
    return label_text(figures.run_id), str(figures.attempt), str(figures.rank)


def _histogram(
    family: Family, labels: tuple[str, ...], several: Sequence[Figures]
) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(family.name, family.help, labels=labels, unit=family.unit)
    for figures in several:
        steps = _HISTOGRAMS[family.name](figures)
        if steps is None:
            continue
        buckets, total = steps.snapshot()
        rows: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for bucket in buckets:
            upper = "+Inf" if math.isinf(bucket.upper) else repr(bucket.upper)
            if bucket.exemplar is None:
                rows.append((upper, bucket.count))
            else:
                value, step, unix_s = bucket.exemplar
                rows.append((upper, bucket.count, Exemplar({"step": str(step)}, value, unix_s)))
        metric.add_metric(_run_labels(figures), rows, total)
    return metric


def _devices(number_of: Callable[[DeviceFigures], float | None], *, only: str = "") -> _NumbersOf:
    """One number a device, where ``only`` is its kind or empty."""
    return lambda figures: [
        ((one.device, one.kind), number_of(one))
        for one in figures.devices
        if one.kind == only or not only
    ]


def _bound(of: str, which: str) -> _NumbersOf:
    """One bound of a forecast."""
    return lambda figures: [((), getattr(getattr(figures, of), which, None))]


def _run(number_of: Callable[[Figures], float | None]) -> _NumbersOf:
    """One number for the whole run."""
    return lambda figures: [((), number_of(figures))]


_NUMBERS: dict[str, _NumbersOf] = {
    "greenai_energy_joules_total": lambda figures: [
        ((one.device, one.kind, phase), energy_j)
        for one in figures.devices
        for phase, energy_j in one.energy_j_by_phase.items()
    ],
    "greenai_power_watts": _devices(lambda one: one.power_w),
    "greenai_gpu_power_limit_watts": _devices(lambda one: one.power_limit_w, only="gpu"),
    "greenai_gpu_utilization_ratio": _devices(lambda one: one.utilization_ratio, only="gpu"),
    "greenai_gpu_memory_used_bytes": _devices(lambda one: one.memory_used_bytes, only="gpu"),
    "greenai_gpu_temperature_celsius": _devices(lambda one: one.temperature_c, only="gpu"),
    "greenai_host_energy_joules_total": lambda figures: [
        ((source,), energy_j) for source, energy_j in figures.host_energy_j.items()
    ],
    "greenai_emissions_co2e_grams_total": lambda figures: [
        (("operational",), figures.emissions_g),
        (("embodied",), figures.embodied_g),
    ],
    "greenai_grid_intensity_co2e_grams_per_kwh": lambda figures: [
        ((figures.intensity_region, figures.intensity_source), figures.intensity_g_per_kwh)
    ],
    "greenai_pue_ratio": _run(lambda figures: figures.pue),
    "greenai_optimizer_steps_total": _run(lambda figures: figures.steps),
    "greenai_batches_total": _run(lambda figures: figures.batches),
    "greenai_samples_total": _run(lambda figures: figures.samples),
    "greenai_tokens_total": _run(lambda figures: figures.tokens),
    "greenai_model_flops_total": _run(lambda figures: figures.flops),
    "greenai_epoch": _run(lambda figures: figures.epoch),
    "greenai_global_step": _run(lambda figures: figures.global_step),
    "greenai_loss": _run(lambda figures: figures.loss),
    "greenai_measured_ratio": _run(lambda figures: figures.measured_ratio),
    "greenai_coverage_ratio": _run(lambda figures: figures.coverage_ratio),
    "greenai_router_load_ratio": lambda figures: [
        ((str(expert),), load) for expert, load in enumerate(figures.router_load)
    ],
    "greenai_router_imbalance_ratio": _run(lambda figures: figures.router_imbalance),
    "greenai_energy_budget_joules": _run(lambda figures: figures.energy_budget_j),
    "greenai_emissions_budget_co2e_grams": _run(lambda figures: figures.emissions_budget_g),
    "greenai_planned_steps": _run(lambda figures: figures.total_steps),
    "greenai_forecast_energy_joules": _bound("forecast_energy_j", "mid"),
    "greenai_forecast_energy_low_joules": _bound("forecast_energy_j", "low"),
    "greenai_forecast_energy_high_joules": _bound("forecast_energy_j", "high"),
    "greenai_forecast_emissions_co2e_grams": _bound("forecast_emissions_g", "mid"),
    "greenai_forecast_emissions_low_co2e_grams": _bound("forecast_emissions_g", "low"),
    "greenai_forecast_emissions_high_co2e_grams": _bound("forecast_emissions_g", "high"),
    "greenai_run_start_time_seconds": _run(lambda figures: figures.start_unix_s),
    "greenai_last_sample_timestamp_seconds": _run(lambda figures: figures.last_sample_unix_s),
    "greenai_sampler_errors_total": lambda figures: [
        ((source,), count) for source, count in figures.errors.items()
    ],
    "greenai_sampler_overhead_seconds_total": _run(lambda figures: figures.overhead_cpu_s),
    "greenai_sampler_wake_lateness_seconds": _run(lambda figures: figures.wake_late_p95_s),
}
"""Values of the family's own labels, and the number, of every sample."""

_HISTOGRAMS: dict[str, Callable[[Figures], StepHistogram | None]] = {
    "greenai_step_energy_joules": lambda figures: figures.step_energy_j,
    "greenai_step_duration_seconds": lambda figures: figures.step_duration_s,
}

_INFOS: dict[str, Callable[[Figures], list[tuple[str, ...]]]] = {
    "greenai_run_info": lambda figures: [
        tuple(figures.info.get(label, "") for label in BY_NAME["greenai_run_info"].labels)
    ],
    "greenai_device_info": lambda figures: [
        (one.device, one.kind, one.uuid, one.model, one.vendor, one.method, one.trust)
        for one in figures.devices
    ],
}
"""Values of the family's own labels, of every sample."""
