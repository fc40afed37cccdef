"""Whether a device's energy counter and its own power readings tell the same."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import covered_energy, is_covered, series_from
from greenai.record.types import STILL
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from greenai.record.types import Attempt, ChannelReadings

APART = 0.05
"""Counters and power that differ by more are flagged: 187 J against 327 J were seen on one idle
board (Zeus, issue 181), where most agree to 1 %."""
SURE = 3.0
"""Standard errors that the difference must be beyond that."""
READINGS_MIN = 10
WINDOW_NS = 200 * NS_PER_MS
"""Power is compared with the counter's mean over this time before the reading: two refreshes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """The power that a device reads beside the power that its counter grows by.

    Attributes:
        device: Short name.
        ratio: Mean power of the readings over the counter's, in the same moments; NaN where there
            are too few.
        error: Standard error of the ratio.
        readings: How many were compared.
    """

    device: str
    ratio: float
    error: float
    readings: int

    @property
    def differs(self) -> bool:
        """Whether they are more than 5 % apart, beyond chance; False where nobody can tell."""
        return abs(self.ratio - 1) - APART > SURE * self.error


def agreements(attempt: Attempt) -> list[Agreement]:
    """Compare the energy counter of each device with the power that is read once a second.

    Args:
        attempt: One attempt of one rank.

    Returns:
        One for each device that has both.
    """
    power = {
        (one.channel.device_key, one.channel.kind): one
        for one in attempt.readings
        if one.channel.quantity == "power_w" and not one.channel.primary
    }
    counters = [
        one
        for one in attempt.readings
        if one.channel.quantity == "energy_j" and one.channel.primary
    ]
    pairs = [
        (counter, power[counter.channel.device_key, counter.channel.kind])
        for counter in counters
        if (counter.channel.device_key, counter.channel.kind) in power
    ]
    return [_agreement(counter, beside) for counter, beside in pairs]


def _agreement(counter: ChannelReadings, beside: ChannelReadings) -> Agreement:
    device = counter.channel.device
    series = series_from(counter)
    read_ns = beside.t_hi_ns[beside.kind != STILL]
    power_w = beside.value[beside.kind != STILL]
    start_ns = read_ns - WINDOW_NS
    known = is_covered(series, start_ns, read_ns) & np.isfinite(power_w)
    count = int(known.sum())
    if count < READINGS_MIN:
        return Agreement(device, math.nan, math.nan, count)
    energy_j = covered_energy(series, read_ns[known]) - covered_energy(series, start_ns[known])
    counted_w = energy_j / (WINDOW_NS / NS_PER_S)
    mean_w = float(counted_w.mean())
    if mean_w <= 0:
        return Agreement(device, math.nan, math.nan, count)
    difference_w = power_w[known] - counted_w
    error = float(difference_w.std(ddof=1)) / math.sqrt(count) / mean_w
    return Agreement(device, 1 + float(difference_w.mean()) / mean_w, error, count)
