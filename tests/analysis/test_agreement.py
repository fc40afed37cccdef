"""Laws of agreement: a counter that lies is flagged, noise alone never is."""

from __future__ import annotations

import numpy as np
import pytest
from simulation.counters import (
    START_NS,
    SimulatedCounter,
    a_channel,
    attempt_of,
    marks_of,
    readings_of,
)

from greenai.analysis.agreement import Agreement, agreements
from greenai.record.types import CHANGE, FIRST

S = 1_000_000_000


def both(gain: float, noise_w: float, seconds: int, seed: int = 0) -> Agreement:
    """A counter of 300 W, and power read once a second that says ``gain`` times as much."""
    counter = SimulatedCounter(lambda t: 300.0 * t, paced=True, seed=seed).readings(seconds)
    noise = np.random.default_rng(seed)
    rows = [
        (START_NS + k * S, START_NS + k * S, 300 * gain + noise.normal(0, noise_w), CHANGE)
        for k in range(1, seconds)
    ]
    rows[0] = (*rows[0][:3], FIRST)
    power = a_channel(quantity="power_w", method="nvml_power", primary=False)
    (found,) = agreements(attempt_of([counter, readings_of(power, rows)], marks_of([])))
    return found


@pytest.mark.parametrize("gain", [0.57, 0.9, 1.12, 1.75])
def test_a_counter_and_a_power_that_disagree_are_flagged(gain: float) -> None:
    found = both(gain, noise_w=5, seconds=60)
    assert found.ratio == pytest.approx(gain, rel=0.02)
    assert found.differs


@pytest.mark.parametrize("gain", [0.98, 1.0, 1.03])
def test_a_difference_within_five_percent_is_not(gain: float) -> None:
    assert not both(gain, noise_w=5, seconds=60).differs


def test_noise_alone_is_not_flagged() -> None:
    flagged = [both(1.0, noise_w=150, seconds=30, seed=seed).differs for seed in range(40)]
    assert not any(flagged)


def test_too_few_readings_tell_nothing() -> None:
    found = both(2.0, noise_w=0, seconds=8)
    assert np.isnan(found.ratio)
    assert not found.differs


def test_a_device_without_both_is_not_compared() -> None:
    counter = SimulatedCounter(lambda t: 300.0 * t).readings(5)
    assert agreements(attempt_of([counter], marks_of([]))) == []
