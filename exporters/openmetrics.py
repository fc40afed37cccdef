"""Writes a finished run as OpenMetrics text with timestamps, to be loaded into a Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily
from prometheus_client.openmetrics import exposition
from prometheus_client.registry import Collector

from greenai.exporters.files import replacing
from greenai.exporters.prometheus import label_text
from greenai.metrics import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Metric

    from greenai.units import Floats, Ns

FILE = "openmetrics.txt"
JOB = "greenai"
MS_PER_S = 1000.0


class Course(NamedTuple):
    """One series of a family of the catalogue, over time.

    Attributes:
        family: Name of the family.
        labels: Labels by name.
        unix_ms: Moments, increasing. Shape (n,).
        values: The series' values; 1 of an info. Shape (n,).
    """

    family: str
    labels: Mapping[str, str]
    unix_ms: Ns
    values: Floats


def write_openmetrics(path: Path, courses: Sequence[Course]) -> None:
    """Write counters and facts over time, for ``promtool tsdb create-blocks-from openmetrics``.

    Args:
        path: The file; replaced whole.
        courses: What is written; those of one family in a row, none twice.

    Raises:
        RecordError: The file cannot be written.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> steps = Course("greenai_optimizer_steps_total", {"run_id": "a"},
        ...                np.array([1_700_000_000_000]), np.array([42.0]))
        >>> write_openmetrics(Path("run.txt"), [steps])
        >>> Path("run.txt").read_text().splitlines()[-2]
        'greenai_optimizer_steps_total{job="greenai",run_id="a"} 42.0 1700000000.0'
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Courses(courses))
    # The library leaves this one function untyped.
    text: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
    with replacing(path) as file:
        file.write(text)


class _Courses(Collector):
    """Turns courses into families whose samples carry their time."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self._courses = courses

    def describe(self) -> list[Metric]:
        """Say nothing: registering asks for no sample."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one family after the other."""
        families: dict[str, CounterMetricFamily | InfoMetricFamily] = {}
        for course in self._courses:
            described = BY_NAME[course.family]
            labels = {"job": JOB, **{k: label_text(text) for k, text in course.labels.items()}}
            times_s = (course.unix_ms / MS_PER_S).tolist()
            if described.type == "info":
                name = described.name.removesuffix("_info")
                info = families.setdefault(name, InfoMetricFamily(name, described.help, labels=()))
                for time_s in times_s:
                    info.add_sample(described.name, labels, 1.0, timestamp=time_s)
                continue
            counter = families.setdefault(
                described.name,
                CounterMetricFamily(described.name, described.help, unit=described.unit, labels=()),
            )
            for time_s, value in zip(times_s, course.values.tolist(), strict=True):
                counter.add_sample(described.name, labels, value, timestamp=time_s)
        yield from families.values()
