"""Laws of the plots: no peak and no gap is lost, and axes are round."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from greenai.exporters import charts, drawing
from greenai.exporters.further_charts import further_charts

VALUES = arrays(
    np.float64,
    st.integers(1, 400),
    elements=st.floats(-1e6, 1e6) | st.just(float("nan")),
)


def by_key(run: Any) -> dict[str, charts.Chart]:
    return {chart.key: chart for chart in charts.charts_of(run)}


@given(VALUES, st.integers(5, 60))
def test_no_peak_and_no_gap_is_lost(y: Any, points: int) -> None:
    kept = charts.decimate(y, points)
    assert len(kept) <= max(points, 5)
    assert (np.diff(kept) > 0).all()
    assert {0, len(y) - 1} <= set(kept.tolist())
    assert np.isnan(y[kept]).any() == np.isnan(y).any()
    if np.isfinite(y).any():
        assert np.nanmax(y[kept]) == np.nanmax(y)
        assert np.nanmin(y[kept]) == np.nanmin(y)


def test_a_curve_has_at_most_two_thousand_points(make_run: Any) -> None:
    for chart in charts.charts_of(make_run(count=30_000)):
        assert all(len(curve.x) <= charts.POINTS for curve in chart.curves)


def test_many_devices_share_the_points(make_run: Any) -> None:
    power = by_key(make_run(gpus=72))["power"]
    assert len(power.curves) == charts.CURVES_MAX
    assert sum(len(curve.x) for curve in power.curves) <= charts.POINTS_OF_ALL_POWER
    assert "12 of 73 devices" in power.summary


def test_a_modelled_curve_says_so(run: Any) -> None:
    names = [curve.name for curve in by_key(run)["power"].curves]
    assert names == ["cpu-package-0 (modelled)", "gpu0"]


def test_attempts_of_a_device_are_one_line_with_a_gap(run: Any) -> None:
    first = run.curves[0]
    later = type(first)("gpu0", "gpu", "measured", first.t_s + 100.0, first.power_w)
    run.curves = [later, first]
    (curve,) = by_key(run)["power"].curves
    assert (np.diff(curve.x) >= 0).all()
    between = np.flatnonzero(curve.x > first.t_s[-1])[0]
    assert np.isnan(curve.y[between - 1])
    assert np.isfinite(curve.y[between])


def test_devices_of_one_name_on_two_hosts_stay_apart(run: Any) -> None:
    run.curves = [run.curves[0], run.curves[0]]
    assert [curve.name for curve in by_key(run)["power"].curves] == ["gpu0", "gpu0 #2"]


def test_a_step_trained_again_is_drawn_once(run: Any) -> None:
    run.frame.loc[:9, "rolled_back"] = True
    assert by_key(run)["energy-per-step"].curves[0].x[0] == 10


def test_steps_that_do_not_rise_are_drawn_in_the_order_of_training(run: Any) -> None:
    run.frame.loc[200:, "step"] = range(200)
    chart = by_key(run)["energy-per-step"]
    assert (np.diff(chart.curves[0].x) > 0).all()
    assert "order of training" in chart.x_title


def test_a_bound_that_nobody_knows_ends_above_the_curve(run: Any) -> None:
    run.frame["energy_high_j"] = np.inf
    band = by_key(run)["energy-per-step"].band
    assert band is not None
    assert np.nanmax(band[1]) == pytest.approx(2 * np.nanmax(run.frame["energy_j"]))


def test_the_loss_is_drawn_where_it_was_logged(run: Any) -> None:
    run.frame.loc[run.frame["step"] % 50 != 0, "loss"] = np.nan
    assert len(by_key(run)["loss"].curves[0].x) == 8
    run.frame["loss"] = np.nan
    assert "loss" not in by_key(run)


def test_the_cumulative_energy_ends_at_the_sum_of_the_steps(run: Any) -> None:
    chart = by_key(run)["cumulative-energy"]
    assert chart.y_title == "Energy (kJ)"
    assert chart.curves[0].y[-1] * 1e3 == pytest.approx(run.frame["energy_j"].sum())
    assert "1 step of unknown energy" in chart.summary


def test_a_run_without_sensors_has_nothing_to_draw_but_its_loss(unmetered: Any) -> None:
    drawn = {chart.key: bool(chart.curves) for chart in charts.charts_of(unmetered)}
    assert drawn == {
        "power": False,
        "energy-per-step": False,
        "cumulative-energy": False,
        "loss": True,
    }


def test_data_for_the_page_is_strict_json(run: Any) -> None:
    for chart in charts.charts_of(run):
        plain = json.loads(json.dumps(chart.to_json(), allow_nan=False))
        assert len({len(plain["series"][0]["x"]), len(plain["series"][0]["y"])}) == 1


@given(st.floats(-1e9, 1e9), st.floats(1e-7, 10))
def test_ticks_are_few_round_and_inside(low: float, relative_width: float) -> None:
    width = relative_width * max(1e-6, abs(low))
    high = low + width
    marks = drawing.ticks(low, high)
    texts = drawing.tick_texts(marks) if marks else []
    assert len(marks) <= 13
    assert all(low - width * 1e-6 <= mark <= high + width * 1e-6 for mark in marks)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_very_short_run_can_be_drawn(make_run: Any, count: int) -> None:
    run = make_run(count=count)
    for chart in charts.charts_of(run):
        if chart.curves:
            assert "nan" not in drawing.line_chart(chart)


def test_loss_stands_against_the_energy_and_emissions_against_time(run: Any) -> None:
    run.frame["energy_j"] = run.frame["energy_j"].fillna(12.0)
    found = {chart.key: chart for chart in further_charts(run)}
    assert list(found) == ["loss-against-energy", "cumulative-emissions"]
    against = found["loss-against-energy"].curves[0]
    assert against.x[-1] == pytest.approx(run.frame["energy_j"].sum() / 1e3, rel=0.02)
    (emitted,) = found["cumulative-emissions"].curves
    assert np.nanmax(emitted.y) == pytest.approx(1e3 * run.frame["operational_co2e_g"].sum())


def test_the_loss_goes_on_after_a_few_unknown_steps_and_says_so(run: Any) -> None:
    """Given one unknown step of 400, the curve is whole; given half of them, it ends."""
    known_j = run.frame["energy_j"].sum() / 1e3
    chart = further_charts(run)[0]
    assert chart.curves[0].x[-1] == pytest.approx(known_j, rel=0.02)
    assert "Not in the sum: 1 step of unknown energy." in chart.summary
    run.frame.loc[200:, "energy_j"] = np.nan
    chart = further_charts(run)[0]
    assert chart.curves[0].x[-1] < 0.6 * known_j
    assert "The curve ends where a step's energy is unknown." in chart.summary


def test_a_device_whose_time_others_count_is_one_line_still(run: Any) -> None:
    """Given unknown power before and after each attempt, its device is no second one."""
    first = run.curves[0]
    unknown = np.full(3, np.nan)
    before = type(first)("gpu0", "gpu", "measured", first.t_s, first.power_w)
    t_s = np.concatenate(([0.0, 1.0, 2.0], first.t_s + 100.0))
    after = type(first)("gpu0", "gpu", "measured", t_s, np.concatenate((unknown, first.power_w)))
    run.curves = [after, before]
    assert [curve.name for curve in by_key(run)["power"].curves] == ["gpu0"]


def test_the_intensity_is_drawn_where_it_changed(run: Any) -> None:
    run.frame["intensity_g_per_kwh"] = np.linspace(30.0, 90.0, len(run.frame))
    (chart,) = (one for one in further_charts(run) if one.key == "intensity")
    assert (chart.curves[0].y.min(), chart.curves[0].y.max()) == (30.0, 90.0)
    run.frame.loc[200:, "attempt"] = 1
    (chart,) = (one for one in further_charts(run) if one.key == "intensity")
    assert np.flatnonzero(np.isnan(chart.curves[0].y)).tolist() == [200]  # between the attempts


def test_what_is_unknown_gives_no_further_plot(unmetered: Any) -> None:
    assert further_charts(unmetered) == ()
