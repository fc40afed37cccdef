"""Laws of intensity over time: weighted by energy, holes are said, unlike things never mix."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from greenai.analysis.footprint import footprint_over_time
from greenai.analysis.intensity import (
    IntensitySeries,
    Yearly,
    mean_over,
    series_of,
    weigh,
)
from greenai.analysis.spans import Row
from greenai.errors import GridError

HOUR = 3_600_000_000_000
YEARLY = Yearly(50.0, "lifecycle", "average", "FRA 2023")


def series(*g_per_kwh: float, **changes: Any) -> IntensitySeries:
    """One row an hour from 1970 on; NaN leaves a hole."""
    rows = [
        Row(hour * HOUR, (hour + 1) * HOUR, g)
        for hour, g in enumerate(g_per_kwh)
        if not math.isnan(g)
    ]
    facts = {"basis": "lifecycle", "signal": "average", "source": "a file", **changes}
    return series_of(rows, **facts)


def joules(*kwh: float) -> Any:
    return np.array(kwh) * 3.6e6


def test_a_run_that_draws_more_in_the_windy_hours_emits_less_than_the_plain_mean_says() -> None:
    found = weigh(joules(9, 1), 3.6e7, series(100, 300))
    assert found.g_per_kwh == pytest.approx(120)  # (9 * 100 + 1 * 300) / 10, and not 200
    assert (found.low_g_per_kwh, found.high_g_per_kwh) == pytest.approx((120, 120))
    assert found.series_share == pytest.approx(1)
    assert (found.filled_share, found.open_share) == (0, 0)


def test_a_constant_series_is_the_constant() -> None:
    assert weigh(joules(1, 2, 3), 2.16e7, series(70, 70, 70)).g_per_kwh == pytest.approx(70)


def test_a_hole_is_filled_by_the_yearly_factor_of_the_same_kind_and_said_by_share() -> None:
    found = weigh(joules(2, 1, 1), 1.44e7, series(100, math.nan, 300), YEARLY)
    assert found.g_per_kwh == pytest.approx(137.5)  # (2 * 100 + 50 + 300) / 4
    assert found.filled_share == pytest.approx(0.25)
    assert (found.low_g_per_kwh, found.high_g_per_kwh) == pytest.approx((137.5, 200))
    result = footprint_over_time(1.44e7, found, series(100, math.nan, 300), filled_by="FRA 2023")
    assert result.operational_co2e_g == pytest.approx(550)
    assert any("25.0% of the energy lies in holes" in said for said in result.assumptions)
    assert any("FRA 2023" in said for said in result.assumptions)


@pytest.mark.parametrize(
    "other",
    [
        Yearly(50.0, "direct", "average", "x"),
        Yearly(50.0, "lifecycle", "marginal", "x"),
        Yearly(50.0, "unknown", "average", "x"),
        None,
    ],
)
def test_a_hole_stays_open_where_nothing_of_the_same_kind_is_known(other: Yearly | None) -> None:
    holed = series(100, math.nan, 300)
    found = weigh(joules(2, 1, 1), 1.44e7, holed, other)
    assert math.isnan(found.g_per_kwh)
    assert math.isnan(found.low_g_per_kwh)
    assert found.open_share == pytest.approx(0.25)
    assert found.known_g_per_kwh == pytest.approx(500 / 3)
    result = footprint_over_time(1.44e7, found, holed, pue=1.2)
    assert math.isnan(result.operational_co2e_g)
    assert any("25.0% of the energy has no intensity" in said for said in result.assumptions)
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["operational_co2e_g"] is plain["intensity_g_per_kwh"] is None
    assert plain["over_time"]["open_share"] == pytest.approx(0.25)


def test_an_unknown_basis_is_like_no_other_not_even_another_unknown() -> None:
    unknown = series(100, math.nan, 100, basis="unknown")
    found = weigh(joules(1, 1, 1), 1.08e7, unknown, Yearly(50.0, "unknown", "average", "x"))
    assert found.open_share == pytest.approx(1 / 3)


def test_energy_outside_of_the_series_is_a_hole_too() -> None:
    found = weigh(joules(1, 1), 1.44e7, series(100, 300), YEARLY)
    assert found.filled_share == pytest.approx(0.5)
    assert found.g_per_kwh == pytest.approx(125)  # (100 + 300 + 2 * 50) / 4


def test_a_hole_in_which_no_energy_was_used_is_none() -> None:
    found = weigh(joules(1, 0, 1), 7.2e6, series(100, math.nan, 300))
    assert found.g_per_kwh == pytest.approx(200)
    assert found.open_share == 0


def test_pue_multiplies_once_and_the_marginal_signal_is_named() -> None:
    marginal = series(400, 500, signal="marginal", fetched_utc="2026-11-25T00:00:00Z")
    result = footprint_over_time(7.2e6, weigh(joules(1, 1), 7.2e6, marginal), marginal, pue=1.5)
    assert result.operational_co2e_g == pytest.approx(1350)
    assert result.intensity_signal == "marginal"
    assert result.intensity_fetched_utc == "2026-11-25T00:00:00Z"
    assert any("not comparable with averages" in said for said in result.assumptions)


def test_estimates_are_said_by_share_of_energy() -> None:
    rows = [Row(0, HOUR, 100.0), Row(HOUR, 2 * HOUR, 200.0, estimated=True)]
    forecast = series_of(rows, basis="direct", signal="average", source="a service")
    found = weigh(joules(3, 1), 1.44e7, forecast)
    assert found.estimated_share == pytest.approx(0.25)
    result = footprint_over_time(1.44e7, found, forecast)
    assert any("25.0% of the energy the intensity is a forecast" in x for x in result.assumptions)


@pytest.mark.parametrize("total_j", [math.nan, 0.0])
def test_without_energy_nothing_is_known(total_j: float) -> None:
    found = weigh(joules(0, 0), total_j, series(100, 300), YEARLY)
    assert math.isnan(found.g_per_kwh)
    assert math.isnan(found.open_share)


def test_the_intensity_of_a_step_is_the_mean_over_its_time() -> None:
    starts, ends = (
        np.array([0, HOUR // 2, 3 * HOUR // 2]),
        np.array([HOUR, 3 * HOUR // 2, 3 * HOUR]),
    )
    found = mean_over(starts, ends, series(100, 300))
    assert found[:2].tolist() == pytest.approx([100, 200])
    assert math.isnan(found[2])
    filled = mean_over(starts, ends, series(100, 300), YEARLY)
    assert filled.tolist() == pytest.approx([100, 200, (300 + 2 * 50) / 3])


def test_rows_in_any_order_make_the_same_series() -> None:
    rows = [Row(HOUR, 2 * HOUR, 2.0), Row(0, HOUR, 1.0)]
    found = series_of(rows, basis="direct", signal="average", source="x")
    assert found.g_per_kwh.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("rows", "what", "hint"),
    [
        ([], "no rows", "at least one"),
        ([Row(HOUR, HOUR, 1.0)], "not after its start", "after 1970-01-01T01:00:00Z"),
        ([Row(0, HOUR, -1.0)], "a figure of -1", "0 or more"),
        ([Row(0, HOUR, math.inf)], "a figure of inf", "0 or more"),
        (
            [Row(0, 2 * HOUR, 1.0), Row(HOUR, 3 * HOUR, 1.0)],
            "inside a row",
            "start at 1970-01-01T02:00:00Z",
        ),
        ([Row(0, 9 * HOUR, 1.0)], "in the future", "1970-01-01T08:00:00Z or before"),
    ],
)
def test_a_bad_row_is_refused_with_the_nearest_valid_choice(
    rows: list[Row], what: str, hint: str
) -> None:
    with pytest.raises(GridError, match=what) as refused:
        series_of(rows, basis="direct", signal="average", source="x", now_utc_ns=8 * HOUR)
    assert hint in refused.value.hint


def test_a_forecast_may_lie_in_the_future() -> None:
    rows = [Row(0, 9 * HOUR, 1.0, estimated=True)]
    assert series_of(rows, basis="direct", signal="average", source="x", now_utc_ns=HOUR)
