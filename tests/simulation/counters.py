"""A counter simulated from a known waveform, read and filtered as the sampler does it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from greenai.live.sensing import ChangePoints
from greenai.record.types import FIXED_NAMES, STOP, Anchor, Attempt, ChannelReadings, Marks
from greenai.sensors.base import Channel
from greenai.sensors.pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
START_NS = 5_000_000_000


def a_channel(**changes: object) -> Channel:
    fields: dict[str, object] = {
        "quantity": "energy_j",
        "kind": "gpu",
        "device": "gpu0",
        "device_key": "GPU-0",
        "method": "nvml_energy",
        "trust": "measured",
        "primary": True,
        "refresh_ns": 120 * MS,
        "power_max_w": 840.0,
    }
    return Channel(**(fields | changes))  # type: ignore[arg-type]


def readings_of(channel: Channel, rows: list[tuple[int, int, float, int]]) -> ChannelReadings:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return ChannelReadings(
        channel,
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.float64),
        np.array(columns[3], dtype=np.uint8),
    )


def marks_of(rows: list[tuple[int, int, str, int, float]]) -> Marks:
    names = list(FIXED_NAMES)
    for row in rows:
        if row[2] and row[2] not in names:
            names.append(row[2])
    ids = [names.index(row[2]) if row[2] else 0 for row in rows]
    return Marks(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.uint8),
        np.array(ids, dtype=np.uint16),
        np.array([row[3] for row in rows], dtype=np.int64),
        np.array([row[4] for row in rows], dtype=np.float64),
        tuple(names),
    )


def attempt_of(readings: list[ChannelReadings], marks: Marks) -> Attempt:
    return Attempt(
        folder=Path("run"),
        rank=0,
        attempt=0,
        launch_id="launch",
        manifest={},
        channels=tuple(one.channel for one in readings),
        readings=tuple(readings),
        marks=marks,
        events=(),
        anchors=(Anchor(START_NS, START_NS, START_NS),),
        ended="stopped" if (marks.kind == STOP).any() else "parent_died",
        problems=(),
    )


@dataclasses.dataclass
class SimulatedCounter:
    """A counter that refreshes every ``refresh_ms`` and is polled every 20 ms ± 10 %.

    Args:
        energy_j: True energy since START_NS at a time in seconds since then; a closed function.
        refresh_ms: Period of the refresh.
        phase: Where in its period the refresh stands at the start, 0 to 1.
        poll_ms: Polling period.
        seed: Of the dither.
        paced: Whether it is read when its refresh is due, as the sampler reads GPUs.
        stall_ms: How late three in ten reads come on a busy machine, on average.
    """

    energy_j: Callable[[float], float]
    refresh_ms: float = 100.0
    phase: float = 0.0
    poll_ms: float = 20.0
    seed: int = 0
    paced: bool = False
    stall_ms: float = 0.0

    def counter(self, t_ns: int) -> float:
        """What the driver shows: the energy at the latest refresh, in whole millijoules."""
        since_s = (t_ns - START_NS) / 1e9
        period_s = self.refresh_ms / 1e3
        shift = self.phase * period_s
        latest_s = math.floor((since_s - shift) / period_s) * period_s + shift
        return math.floor(self.energy_j(latest_s) * 1000) / 1000 + 1000.0

    def readings(self, seconds: float, channel: Channel | None = None) -> ChannelReadings:
        """Poll from START_NS on and keep the change points."""
        channel = channel or a_channel()
        points = ChangePoints(channel, 0)
        random = np.random.default_rng(self.seed)
        pacing = Pacing(Random(self.seed))  # noqa: S311 - guards nothing
        rows, t_ns, seen = [], START_NS, math.nan
        while t_ns < START_NS + int(seconds * 1e9):
            value = self.counter(t_ns)
            row = points.feed(t_ns, t_ns + 40_000, value)
            if row is not None:
                rows.append(row[1:])
            pacing.saw(t_ns, t_ns + 40_000, changed=value != seen)
            seen = value
            late_ns = int(random.exponential(0.1) * MS)
            fixed_ns = t_ns + int(self.poll_ms * MS * (1 + random.uniform(-0.1, 0.1)))
            t_ns = pacing.due_ns + late_ns if self.paced else fixed_ns
            if self.stall_ms and random.uniform() < 0.3:
                t_ns += int(random.exponential(self.stall_ms) * MS)
        if (row := points.confirm()) is not None:
            rows.append(row[1:])
        return readings_of(channel, rows)
