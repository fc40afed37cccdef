"""Laws of what energy means: each factor enters once, unknown stays unknown, bounds travel."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from greenai.analysis.embodied import DEFAULT_LIFE, Device, Life, embodied_g
from greenai.analysis.equivalences import equivalences
from greenai.analysis.footprint import footprint
from greenai.analysis.impacts import (
    Factors,
    Given,
    Impacts,
    energy_range_kwh,
    impacts,
    scores,
    water_l,
)
from greenai.analysis.ranges import Range
from greenai.errors import OrderError

HUNDRED = Range(90.0, 100.0, 120.0)


def of_100_kwh(pue: float | None = 1.2, work: Any = None, **factors: Any) -> Impacts:
    emitted = footprint(3.6e8, 50.0, source="a table", place="FRA", pue=pue)
    given = Factors(**factors)
    return impacts(emitted, HUNDRED, Range.exactly(1000.0), work or {}, given)


def test_location_and_market_based_stand_side_by_side_and_pue_is_in_both_once() -> None:
    found = of_100_kwh(market_g_per_kwh=Given(10.0, "a contract"))
    assert found.location_based_g.mid == pytest.approx(6000)  # 100 * 1.2 * 50
    assert (found.location_based_g.low, found.location_based_g.high) == pytest.approx((5400, 7200))
    assert found.market_based_g.mid == pytest.approx(1200)  # 100 * 1.2 * 10
    assert found.facility_kwh.mid == pytest.approx(120)
    assert "Market-based factor: 10 g/kWh, source: a contract." in found.said


def test_a_market_that_nobody_claimed_is_unknown_and_a_claimed_zero_is_zero() -> None:
    assert not of_100_kwh().market_based_g.is_known
    assert any("no instrument was claimed" in said for said in of_100_kwh().said)
    assert of_100_kwh(market_g_per_kwh=Given(0.0, "certificates")).market_based_g.mid == 0


def test_water_of_the_site_is_of_the_it_energy_and_never_multiplied_by_pue() -> None:
    given = Factors(wue_l_per_kwh=Given(0.5), ewif_l_per_kwh=Given(3.0))
    on_site, off_site = water_l(HUNDRED, 1.2, given)
    assert (on_site.low, on_site.mid, on_site.high) == pytest.approx((45, 50, 60))
    assert (off_site.low, off_site.mid, off_site.high) == pytest.approx((324, 360, 432))
    same, _ = water_l(HUNDRED, 2.0, given)
    assert same == on_site


def test_water_without_its_factor_or_pue_is_unknown() -> None:
    on_site, off_site = water_l(HUNDRED, None, Factors(ewif_l_per_kwh=Given(3.0)))
    assert not on_site.is_known
    assert not off_site.is_known
    assert any("No WUE was given" in said for said in of_100_kwh().said)


def test_the_cost_is_that_of_the_energy_at_the_meter() -> None:
    found = of_100_kwh(price_per_kwh=Given(0.25, "a bill"), currency="EUR")
    assert (found.cost, found.currency) == (pytest.approx(30), "EUR")
    assert math.isnan(of_100_kwh().cost)
    assert of_100_kwh(price_per_kwh=Given(-0.1)).cost == pytest.approx(-12)


def test_an_intensity_range_and_the_sensors_widen_the_bounds() -> None:
    found = of_100_kwh(intensity_low_g_per_kwh=40.0, intensity_high_g_per_kwh=60.0)
    assert found.location_based_g.low == pytest.approx(4320)  # 90 * 1.2 * 40
    assert found.location_based_g.high == pytest.approx(8640)  # 120 * 1.2 * 60
    energy = energy_range_kwh(3.6e8, 3.5e8, 3.7e8, 0.05)
    assert energy.low == pytest.approx(3.5e8 * 0.95 / 3.6e6)
    assert energy.high == pytest.approx(3.7e8 * 1.05 / 3.6e6)


def test_modelled_energy_has_no_bounds_and_neither_has_what_follows() -> None:
    energy = energy_range_kwh(3.6e8, math.nan, math.nan)
    assert energy.mid == 100
    assert math.isnan(energy.low)
    assert math.isnan(energy.high)
    emitted = footprint(3.6e8, 50.0, source="a table", place="FRA")
    found = impacts(emitted, energy, Range.exactly(1.0), {}, Factors())
    assert found.location_based_g.mid == pytest.approx(5000)
    assert math.isnan(found.location_based_g.high)
    assert any("has no bounds" in said for said in found.said)


def test_sci_is_operational_and_embodied_over_the_unit() -> None:
    work = {"token": 1e6, "flop": 1e18, "sample": 500.0}
    found = of_100_kwh(work=work, parameters=7e9, active_parameters=1e9,
                       market_g_per_kwh=Given(0.0))  # fmt: skip
    by_unit = {one.unit: one for one in found.sci}
    assert by_unit["token"].g_per_unit.mid == pytest.approx(7000 / 1e6)
    assert by_unit["token"].operational_g_per_unit.mid == pytest.approx(6000 / 1e6)
    assert by_unit["flop"].g_per_unit.mid == pytest.approx(7000 / 1e18)
    assert by_unit["parameter"].g_per_unit.mid == pytest.approx(1e-6)
    assert by_unit["active_parameter"].g_per_unit.mid == pytest.approx(7e-6)
    assert {unit for unit, one in by_unit.items() if not one.is_standard} == {"sample"}


def test_without_embodied_emissions_there_is_no_sci_but_the_operational_part() -> None:
    (score,) = scores(Range.exactly(600.0), Range.unknown(), {"token": 100.0})
    assert not score.g_per_unit.is_known
    assert score.operational_g_per_unit.mid == 6
    assert scores(HUNDRED, HUNDRED, {"token": math.nan, "flop": 0.0}) == ()


def test_sci_for_ai_is_implemented_by_its_definition_and_not_its_misprinted_examples() -> None:
    (score,) = scores(Range.exactly(6.5e6), Range.exactly(0.0), {"token": 50e9})
    assert score.g_per_unit.mid * 1e3 == pytest.approx(0.13)  # a thousand, not a million tokens


def test_embodied_follows_the_examples_of_sci_and_of_bloom() -> None:
    a_server = Device("server", Range.exactly(1000.0), 1)
    assert embodied_g([a_server], 1.0, Life(Range.exactly(4.0))).mid == pytest.approx(
        28.52, abs=0.01
    )
    life = Life(Range.exactly(6.0), utilisation=0.85)
    gpu_hours = 1_082_990.0
    servers = embodied_g([Device("server", Range.exactly(2500.0), 1)], gpu_hours / 8, life)
    gpus = embodied_g([Device("GPU", Range.exactly(150.0), 1)], gpu_hours, life)
    assert servers.mid / 1e6 == pytest.approx(7.57, abs=0.005)
    assert gpus.mid / 1e6 == pytest.approx(3.634, abs=0.005)
    assert (servers + gpus).mid / 1e6 == pytest.approx(11.2, abs=0.05)


def test_a_longer_life_is_the_low_end_and_an_unknown_device_makes_all_unknown() -> None:
    known = Device("GPU", Range.exactly(164.0), 8, share=0.5)
    found = embodied_g([known], 8766.0, DEFAULT_LIFE)  # one year
    assert (found.low, found.mid, found.high) == pytest.approx((656e3 / 6, 656e3 / 5, 656e3 / 3))
    assert not embodied_g([known, Device("H200", Range.unknown(), 1)], 1.0).is_known
    assert not embodied_g([], 1.0).is_known
    assert not embodied_g([known], math.nan).is_known


def test_energy_is_compared_with_energy_and_carbon_with_carbon() -> None:
    homes, driven = equivalences(Range.exactly(10_791.0), Range.exactly(213.6))
    assert homes.amount.mid == pytest.approx(1)
    assert driven.amount.mid == pytest.approx(2)
    for one in (homes, driven):
        assert one.source
        assert 2020 <= one.year <= 2026
    homes, driven = equivalences(Range.exactly(10_791.0), Range.unknown())
    assert homes.amount.is_known
    assert not driven.amount.is_known


@pytest.mark.parametrize(
    ("factors", "what"),
    [
        ({"market_g_per_kwh": Given(-1.0)}, "market_g_per_kwh is -1"),
        ({"wue_l_per_kwh": Given(math.nan)}, "wue_l_per_kwh is nan"),
        ({"price_per_kwh": Given(math.inf)}, "price_per_kwh is inf"),
        ({"sensor_gain": 1.0}, "sensor_gain is 1"),
        ({"active_parameters": 1e9}, "without parameters"),
    ],
)
def test_a_bad_factor_is_refused(factors: dict[str, Any], what: str) -> None:
    with pytest.raises(OrderError, match=what):
        Factors(**factors)


@pytest.mark.parametrize("bad", [(2.0, 1.0, 3.0), (-1.0, 0.0, 1.0), (1.0, math.nan, 0.5)])
def test_a_range_out_of_order_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(OrderError, match="out of order"):
        Range(*bad)


def test_impacts_are_plain_json_and_unknown_is_null() -> None:
    plain = json.loads(json.dumps(of_100_kwh(work={"token": 10.0}).to_json(), allow_nan=False))
    assert plain["market_based_g"] == {"low": None, "mid": None, "high": None}
    assert plain["location_based_g"]["mid"] == pytest.approx(6000)
    assert plain["cost"] is None
    assert plain["sci"][0]["unit"] == "token"
