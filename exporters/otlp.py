"""Sends figures to an OpenTelemetry collector, under its conventions' names and under our own."""

from __future__ import annotations

import collections
import math
import socket
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from greenai.exporters.delivery import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry
    from prometheus_client import Metric as Family
    from prometheus_client.samples import Sample

    from greenai.exporters.delivery import Receiver

    Key = tuple[tuple[str, str], ...]

HEADERS = {"Content-Type": "application/x-protobuf", "User-Agent": "greenai"}
UNITS = {
    "joules": "J", "watts": "W", "grams": "g", "seconds": "s", "bytes": "By", "celsius": "Cel",
    "ratio": "1", "grams_per_kwh": "g/kW.h",
}  # fmt: skip
"""UCUM's signs, as OpenTelemetry asks for, of the units of our catalogue."""
HARDWARE = {"gpu": "gpu", "cpu": "cpu", "dram": "memory"}
"""The conventions' words for our kinds; they have none for others, which keep ours."""
OF_THE_SERIES = ("run_id", "attempt", "rank")
CUMULATIVE = AggregationTemporality.CUMULATIVE


class OtlpSender:
    """Sends the families of a registry, by OTLP over HTTP.

    Values are cumulative, so what a receiver missed is in what comes next and nothing is kept.

    Args:
        receiver: Where to.
        registry: Whose families are sent.
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(
        self,
        receiver: Receiver,
        registry: CollectorRegistry,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._receiver = receiver
        self._registry = registry
        self._clock_ns = clock_ns
        self._start_ns = clock_ns()
        self._again_ns = 0
        self._failure = ""

    def deliver(self, *, final: bool = False) -> None:
        """Send the latest values once.

        Args:
            final: Whether they are the last ones, for which no pause is kept.

        Raises:
            UndeliveredError: The receiver did not take them, or asked for a pause.
        """
        now_ns = self._clock_ns()
        if now_ns < self._again_ns and not final:
            raise UndeliveredError(self._failure, again=True)
        body = self.request(now_ns)
        try:
            self._receiver.send("POST", self._receiver.url, body, HEADERS)
        except UndeliveredError as error:
            self._again_ns, self._failure = now_ns + round(error.wait_s * 1e9), error.reason
            raise

    def request(self, now_ns: int) -> bytes:
        """Encode the latest values as an ExportMetricsServiceRequest.

        Args:
            now_ns: Unix nanoseconds that they are of.

        Returns:
            Protobuf.
        """
        families = list(self._registry.collect())
        metrics = [
            *(self._metric(family, now_ns) for family in families),
            *self._hardware(families, now_ns),
        ]
        resource = Resource({"service.name": "greenai", "host.name": socket.gethostname()})
        scope = ScopeMetrics(scope=InstrumentationScope("greenai"), metrics=metrics, schema_url="")
        data = MetricsData(
            [ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")]
        )
        body: bytes = encode_metrics(data).SerializeToString()
        return body

    def _metric(self, family: Family, now_ns: int) -> Metric:
        """One family of the catalogue, under its own name."""
        data: Sum | Gauge | Histogram
        if family.type == "histogram":
            data = Histogram(self._histograms(family.samples, now_ns), CUMULATIVE)
        else:
            numbers = [(sample.labels, sample.value) for sample in family.samples]
            data = self._numbers(numbers, now_ns, total=family.type == "counter")
        name = f"{family.name}_info" if family.type == "info" else family.name
        return Metric(name, family.documentation, UNITS.get(family.unit, ""), data)

    def _numbers(
        self, numbers: Iterable[tuple[dict[str, str], float]], now_ns: int, *, total: bool
    ) -> Sum | Gauge:
        points = [
            NumberDataPoint(
                attributes={key: text for key, text in labels.items() if text},
                start_time_unix_nano=self._start_ns,
                time_unix_nano=now_ns,
                value=float(value),
            )
            for labels, value in numbers
        ]
        return Sum(points, CUMULATIVE, is_monotonic=True) if total else Gauge(points)

    def _histograms(self, samples: Iterable[Sample], now_ns: int) -> list[HistogramDataPoint]:
        """Data points of a histogram's samples, whose buckets are cumulative."""
        buckets: dict[Key, list[tuple[float, float]]] = collections.defaultdict(list)
        sums: dict[Key, float] = {}
        for sample in samples:
            key = tuple((name, text) for name, text in sample.labels.items() if name != "le")
            if sample.name.endswith("_bucket"):
                buckets[key].append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_sum"):
                sums[key] = sample.value
        points = []
        for key, found in buckets.items():
            found.sort()
            counts = [round(count) for _, count in found]
            points.append(
                HistogramDataPoint(
                    attributes=dict(key),
                    start_time_unix_nano=self._start_ns,
                    time_unix_nano=now_ns,
                    count=counts[-1],
                    sum=sums.get(key, 0.0),
                    bucket_counts=[
                        later - one for one, later in zip([0, *counts], counts, strict=False)
                    ],
                    explicit_bounds=[upper for upper, _ in found if math.isfinite(upper)],
                    min=_NOT_KNOWN,
                    max=_NOT_KNOWN,
                )
            )
        return points

    def _hardware(self, families: list[Family], now_ns: int) -> list[Metric]:
        """Energy and power of every device under the names of the semantic conventions.

        Source: OpenTelemetry semantic conventions, hardware metrics (in development).
        """
        by_name = {family.name: family.samples for family in families}
        known = {_device(one.labels): one.labels for one in by_name.get("greenai_device", ())}
        energy_j: dict[Key, float] = collections.defaultdict(float)
        for sample in by_name.get("greenai_energy_joules", ()):
            energy_j[_device(sample.labels)] += sample.value
        power_w = {
            _device(sample.labels): sample.value
            for sample in by_name.get("greenai_power_watts", ())
        }
        found = []
        for name, what, unit, values, total in (
            ("hw.energy", "Energy used by the component.", "J", energy_j, True),
            ("hw.power", "Power drawn by the component.", "W", power_w, False),
        ):
            numbers = [
                (_attributes(dict(device), known.get(device, {})), value)
                for device, value in values.items()
            ]
            if numbers:
                found.append(Metric(name, what, unit, self._numbers(numbers, now_ns, total=total)))
        return found


def _device(labels: dict[str, str]) -> Key:
    """Identity of a device of a run."""
    return tuple((name, labels[name]) for name in (*OF_THE_SERIES, "device", "kind"))


def _attributes(device: dict[str, str], facts: dict[str, str]) -> dict[str, str]:
    return {
        "hw.id": facts.get("uuid") or device["device"],
        "hw.type": HARDWARE.get(device["kind"], device["kind"]),
        "hw.name": device["device"],
        "hw.model": facts.get("model", ""),
        "hw.vendor": facts.get("vendor", ""),
        **{f"greenai.{name}": device[name] for name in OF_THE_SERIES},
    }


_NOT_KNOWN: Any = None
"""Smallest and largest step: the encoder leaves None out, though the class asks for numbers."""
