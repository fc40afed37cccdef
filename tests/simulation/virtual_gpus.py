"""Simulated GPUs metered by the real sensor on a clock of their own: minutes pass in no time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from simulation.counters import readings_of
from simulation.nvml_twin import NvmlTwin

from greenai.analysis.series import series_from
from greenai.live.sensing import ChangePoints
from greenai.sensors import nvml, nvml_board, nvml_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from greenai.analysis.series import Series
    from greenai.live.sensing import Row
    from greenai.sensors.base import Channel

START_NS = 100_000_000_000
CALL_US = 40


class VirtualGpus:
    """What the sensor of NVML makes of simulated GPUs.

    Args:
        patch: Puts the twin and its clock in the place of pynvml and the monotonic clock.
        devices: As ``open_nvml`` takes them.
        environment: Variables of the training process.
        **knobs: As in the C source, in small letters and without FAKE_NVML_.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        devices: list[str] | None = None,
        environment: dict[str, str] | None = None,
        **knobs: object,
    ) -> None:
        self.now_ns = START_NS
        knobs = {"latency_us": CALL_US, "fault_clock": "init", **knobs}
        self.driver = NvmlTwin(START_NS, lambda: self.now_ns, self._sleep, **knobs)
        patch.setitem(sys.modules, "pynvml", self.driver)
        for module in (nvml, nvml_board, nvml_line):
            patch.setattr(module, "monotonic_ns", lambda: self.now_ns)
        sensors, self.refusals = nvml.open_nvml(devices, environment or {})
        self._sensor = next(iter(sensors), None)
        self.channels: tuple[Channel, ...] = self._sensor.channels if self._sensor else ()
        self._points = [ChangePoints(channel, at) for at, channel in enumerate(self.channels)]
        self._rows: list[list[tuple[int, int, float, int]]] = [[] for _ in self.channels]
        self.reasons: dict[str, list[str]] = {}
        """Why reads failed, by device."""

    @property
    def primary(self) -> list[Channel]:
        return [channel for channel in self.channels if channel.primary]

    def meter(self, seconds: float) -> None:
        """Read for a time, as the sampler does it."""
        assert self._sensor is not None
        end_ns = self.now_ns + int(seconds * 1e9)
        while self.now_ns < end_ns:
            for reading in self._sensor.read():
                if reading.reason:
                    device = self.channels[reading.channel].device
                    self.reasons.setdefault(device, []).append(reading.reason)
                    self._keep(self._points[reading.channel].end())
                    continue
                point = self._points[reading.channel]
                self._keep(point.feed(reading.t0_ns, reading.t1_ns, reading.value))
            self.now_ns = max(self.now_ns + 1000, self._sensor.due_ns)
        for point in self._points:
            self._keep(point.confirm())

    def series(self) -> Iterator[tuple[int, Series]]:
        """Each metered GPU's index and its energy over time."""
        for at, channel in enumerate(self.channels):
            if channel.primary:
                rows = readings_of(channel, self._rows[at])
                yield int(channel.device.removeprefix("gpu")), series_from(rows)

    def values(self, quantity: str) -> list[list[float]]:
        """What was kept of a quantity, by channel."""
        return [
            [row[2] for row in rows]
            for channel, rows in zip(self.channels, self._rows, strict=True)
            if channel.quantity == quantity
        ]

    def _keep(self, row: Row | None) -> None:
        if row is not None:
            self._rows[row[0]].append(row[1:])

    def _sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
