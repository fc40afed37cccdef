"""Laws of the series: wraps add, resets and gaps do not, absent is never zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, readings_of

from greenai.analysis.series import (
    BRIDGED,
    COVERED,
    LOST,
    bridged_energy,
    covered_energy,
    covered_time_ns,
    is_covered,
    power_curve,
    series_from,
)
from greenai.record.types import CHANGE, FIRST, STILL

S = 1000 * MS


def ns(*seconds: float) -> np.ndarray:
    return np.array([int(t * S) for t in seconds], dtype=np.int64)


def test_a_knot_lies_in_the_middle_of_its_bracket() -> None:
    series = series_from(readings_of(a_channel(), [(80 * MS, 101 * MS, 5.0, CHANGE)]))
    assert series.t_ns.tolist() == [90_500_000]


def test_a_first_value_may_be_as_old_as_one_refresh() -> None:
    series = series_from(readings_of(a_channel(), [(1000 * MS, 1000 * MS, 5.0, FIRST)]))
    assert (series.t_lo_ns[0], series.t_hi_ns[0]) == (880 * MS, 1000 * MS)


def test_a_wrap_adds_what_the_counter_lost() -> None:
    channel = a_channel(wrap_j=262_144.0, power_max_w=300.0, refresh_ns=MS)
    rows = [(0, 0, 262_140.0, FIRST), (S, S, 50.0, CHANGE), (2 * S, 2 * S, 150.0, CHANGE)]
    assert series_from(readings_of(channel, rows)).energy_j.tolist() == [0.0, 54.0, 154.0]


def test_a_drop_of_a_counter_that_never_wraps_is_a_reset() -> None:
    rows = [(0, 0, 500.0, FIRST), (S, S, 600.0, CHANGE), (2 * S, 2 * S, 3.0, CHANGE)]
    series = series_from(readings_of(a_channel(), rows))
    assert series.state.tolist() == [COVERED, LOST]
    assert series.energy_j.tolist() == [0.0, 100.0, 100.0]


def test_a_drop_with_an_unknown_wrap_is_a_reset_and_no_guess() -> None:
    channel = a_channel(kind="cpu", method="rapl", wrap_j=None)
    rows = [(0, 0, 500.0, FIRST), (S, S, 3.0, CHANGE)]
    assert series_from(readings_of(channel, rows)).state.tolist() == [LOST]


def test_a_gap_in_which_a_counter_could_have_wrapped_twice_is_lost() -> None:
    channel = a_channel(wrap_j=65_536.0, power_max_w=400.0)
    rows = [(0, 0, 10.0, FIRST), (200 * S, 200 * S, 20.0, FIRST)]
    assert series_from(readings_of(channel, rows)).state.tolist() == [LOST]


def test_a_gap_that_the_counter_survived_is_bridged() -> None:
    rows = [
        (0, 0, 0.0, FIRST),
        (S, S, 100.0, CHANGE),
        (9 * S, 9 * S, 900.0, FIRST),
        (10 * S, 10 * S, 1000.0, CHANGE),
    ]
    series = series_from(readings_of(a_channel(refresh_ns=0), rows))
    assert series.state.tolist() == [COVERED, BRIDGED, COVERED]
    assert bridged_energy(series, 0, 10 * S) == 800.0
    assert covered_energy(series, ns(0, 0.5, 1, 5, 9, 9.5, 20)).tolist() == [
        0, 50, 100, 100, 100, 150, 200,
    ]  # fmt: skip
    assert covered_time_ns(series, ns(0, 10)).tolist() == [0, 2 * S]


def test_a_long_silence_is_a_gap_though_nobody_said_so() -> None:
    rows = [(0, 0, 0.0, FIRST), (S, S, 100.0, CHANGE), (8 * S, 8 * S, 800.0, CHANGE)]
    assert series_from(readings_of(a_channel(), rows)).state.tolist() == [COVERED, BRIDGED]


def test_rest_that_is_confirmed_is_no_gap() -> None:
    rows = [(0, 0, 7.0, FIRST), *((t * S, t * S, 7.0, STILL) for t in range(1, 20))]
    series = series_from(readings_of(a_channel(), rows))
    assert set(series.state.tolist()) == {COVERED}
    assert series.energy_j[-1] == 0.0


@pytest.mark.parametrize(
    ("span", "covered"),
    [
        ((0.0, 1.0), True),
        ((0.2, 0.8), True),
        ((-0.1, 0.5), False),
        ((0.5, 2.0), False),
        ((0.5, 9.5), False),
        ((2.0, 3.0), False),
        ((9.0, 10.0), True),
        ((9.5, 10.1), False),
    ],
)
def test_a_span_is_covered_only_wholly(span: tuple[float, float], covered: bool) -> None:
    rows = [
        (0, 0, 0.0, FIRST),
        (S, S, 100.0, CHANGE),
        (9 * S, 9 * S, 900.0, FIRST),
        (10 * S, 10 * S, 1000.0, CHANGE),
    ]
    series = series_from(readings_of(a_channel(refresh_ns=0), rows))
    assert is_covered(series, ns(span[0]), ns(span[1])).tolist() == [covered]


def test_a_power_holds_from_one_refresh_before_the_middle_of_its_bracket() -> None:
    channel = a_channel(quantity="power_w", method="nvml_power")
    rows = [(0, 0, 100.0, FIRST), (S, S + S // 2, 200.0, CHANGE), (3 * S, 3 * S, 200.0, STILL)]
    series = series_from(readings_of(channel, rows))
    assert series.energy_j[-1] == pytest.approx(100 * 1.13 + 200 * 1.87)
    assert series.slack_low_j[-1] == series.slack_high_j[-1] == pytest.approx(100 * 0.37)


def test_constant_power_that_is_only_confirmed_keeps_adding() -> None:
    """A meter that keeps change points alone must not lose a constant load."""
    channel = a_channel(quantity="power_w", method="nvml_power")
    rows = [(0, 0, 50.0, FIRST), *((t * S, t * S, 50.0, STILL) for t in range(1, 11))]
    assert series_from(readings_of(channel, rows)).energy_j[-1] == pytest.approx(500.0)


def test_a_gap_of_integrated_power_is_lost() -> None:
    channel = a_channel(quantity="power_w", method="cpu_load_model", trust="modelled")
    rows = [(0, S, 50.0, FIRST), (9 * S, 10 * S, 70.0, FIRST)]
    series = series_from(readings_of(channel, rows))
    assert series.state.tolist() == [COVERED, LOST, COVERED]
    assert series.energy_j[-1] == pytest.approx(50 + 70)


def test_the_mean_over_each_interval_integrates_a_wave_exactly() -> None:
    """A model's value is the mean since the read before, so its integral has no lag."""
    channel = a_channel(quantity="power_w", method="cpu_load_model", trust="modelled")
    period_s, edges = 1.3, np.arange(0, 20.05, 0.1)
    energy = 100 * edges + 80 * (1 - np.cos(2 * np.pi * edges / period_s)) * period_s / (2 * np.pi)
    rows = [
        (int(a * S), int(b * S), float(e / (b - a)), CHANGE if k else FIRST)
        for k, (a, b, e) in enumerate(zip(edges, edges[1:], np.diff(energy), strict=False))
    ]
    series = series_from(readings_of(channel, rows))
    assert series.energy_j[-1] == pytest.approx(energy[-1], rel=1e-6)


def test_nothing_read_is_no_knots() -> None:
    series = series_from(readings_of(a_channel(), []))
    assert len(series.t_ns) == 0
    assert not is_covered(series, ns(0), ns(1)).any()
    assert covered_energy(series, ns(0, 1)).tolist() == [0, 0]


def test_a_value_that_is_no_number_makes_no_knot() -> None:
    rows = [(0, 0, 1.0, FIRST), (S, S, math.nan, CHANGE), (2 * S, 2 * S, 3.0, CHANGE)]
    assert len(series_from(readings_of(a_channel(), rows)).t_ns) == 2


def test_the_power_curve_is_the_mean_and_unknown_in_gaps() -> None:
    series = series_from(SimulatedCounter(lambda t: 250.0 * t).readings(10))
    t_ns, power_w = power_curve(series, 20)
    assert len(t_ns) == 20
    assert np.allclose(power_w[1:-1], 250, rtol=0.05)
    rows = [(0, 0, 0.0, FIRST), (S, S, 10.0, CHANGE), (9 * S, 9 * S, 90.0, FIRST)]
    _, gappy_w = power_curve(series_from(readings_of(a_channel(), rows)), 2)
    assert np.isnan(gappy_w).any()


def test_the_whole_run_of_a_constant_power() -> None:
    errors = []
    for phase in np.linspace(0, 0.95, 20):
        series = series_from(
            SimulatedCounter(lambda t: 500.0 * t, phase=phase, seed=int(phase * 100)).readings(20)
        )
        window = np.array([series.t_ns[0], series.t_ns[-1]])
        true_j = 500.0 * (window[1] - window[0]) / S
        errors.append(abs(np.diff(covered_energy(series, window))[0] - true_j) / true_j)
    assert np.median(errors) < 0.005
    assert series.t_ns[1] >= START_NS


def test_a_drop_that_no_power_explains_is_a_reset_and_no_wrap() -> None:
    channel = a_channel(kind="cpu", method="rapl", wrap_j=262_143.0, power_max_w=400.0)
    rows = [(0, 0, 900.0, FIRST), (S, S, 940.0, CHANGE), (2 * S, 2 * S, 20.0, CHANGE)]
    series = series_from(readings_of(channel, [*rows, (3 * S, 3 * S, 60.0, CHANGE)]))
    assert series.state.tolist() == [COVERED, LOST, COVERED]
    assert series.energy_j[-1] == pytest.approx(80.0)


def test_a_sampled_power_is_the_mean_of_the_refresh_before_it_was_seen() -> None:
    """100 W, and 500 W from 1.05 s to 1.65 s, in refreshes of 100 ms that average."""
    channel = a_channel(quantity="power_w", method="nvml_power", refresh_ns=120 * MS)
    mean_w = {10: 100.0, 11: 300.0, 16: 500.0, 17: 300.0, 18: 100.0}
    rows, before_w = [(0, 0, 100.0, FIRST)], 100.0
    for number in range(1, 31):
        watts = mean_w.get(number, 500.0 if 11 < number < 17 else 100.0)
        kind = STILL if watts == before_w else CHANGE
        rows.append((number * 100 * MS, number * 100 * MS + 1, watts, kind))
        before_w = watts
    series = series_from(readings_of(channel, rows))
    assert series.energy_j[-1] == pytest.approx(100 * 3.0 + 400 * 0.6, rel=1e-3)


def test_the_power_curve_of_a_steady_device_reaches_to_both_of_its_ends() -> None:
    """Given three readings in ten seconds, the curve leaves out no more than a hundredth."""
    rows = [(0, 0, 0.0, FIRST), (5 * S, 5 * S, 500.0, CHANGE), (10 * S, 10 * S, 1000.0, CHANGE)]
    channel = a_channel(refresh_ns=5 * S)
    t_ns, power_w = power_curve(series_from(readings_of(channel, rows)))
    assert t_ns[-1] - t_ns[0] >= 9.8 * S
    assert np.allclose(power_w[np.isfinite(power_w)], 100)
