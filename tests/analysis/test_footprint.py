"""Laws of a footprint: PUE enters once, and nothing is assumed without being said."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.analysis.footprint import Footprint, boundary_text, footprint
from greenai.errors import OrderError


def of_energy(energy_j: float = 3.6e6, g_per_kwh: float = 100.0, **given: Any) -> Footprint:
    return footprint(energy_j, g_per_kwh, **{"source": "a table", "place": "FRA", **given})


def test_emissions_are_energy_times_pue_times_intensity() -> None:
    result = of_energy(7.2e6, 50.0, pue=1.2)
    assert result.operational_co2e_g == pytest.approx(120)
    assert result.facility_energy_j == pytest.approx(8.64e6)
    assert result.energy_j == 7.2e6


@given(
    st.floats(0, 1e12),
    st.floats(0, 2000),
    st.floats(1, 3),
    st.floats(1, 3),
)
def test_pue_enters_once(energy_j: float, g_per_kwh: float, pue: float, other: float) -> None:
    ratio = of_energy(energy_j, g_per_kwh, pue=pue).operational_co2e_g * other
    assert ratio == pytest.approx(
        of_energy(energy_j, g_per_kwh, pue=other).operational_co2e_g * pue
    )


def test_without_a_pue_the_emissions_are_those_of_the_it_energy_and_it_is_said() -> None:
    result = of_energy()
    assert result.operational_co2e_g == pytest.approx(100)
    assert result.pue is None
    assert math.isnan(result.facility_energy_j)
    assert any("No PUE was given" in sentence for sentence in result.assumptions)
    assert not any("PUE" in sentence for sentence in of_energy(pue=1.1).assumptions)


def test_the_world_average_is_named() -> None:
    result = of_energy(g_per_kwh=475, place="WLD", world_average=True)
    assert any("world average of 475 g/kWh" in sentence for sentence in result.assumptions)
    assert not any("world" in sentence for sentence in of_energy().assumptions)


def test_unknown_energy_gives_unknown_grams() -> None:
    result = of_energy(math.nan, pue=1.2)
    assert math.isnan(result.operational_co2e_g)
    assert any("unknown" in sentence for sentence in result.assumptions)
    shown = result.to_json()
    assert (shown["operational_co2e_g"], shown["energy_j"]) == (None, None)
    json.dumps(shown, allow_nan=False)


def test_what_is_not_measured_or_not_covered_is_said_by_share() -> None:
    trust = {"measured": 0.91, "modelled": 0.09, "assumed": 0.0}
    said = " ".join(of_energy(trust=trust, coverage=0.975).assumptions)
    assert "9.0% of the energy is modelled" in said
    assert "assumed" not in said
    assert "97.5% of the run's time and devices are covered" in said


def test_the_year_and_the_basis_are_said() -> None:
    said = " ".join(of_energy(year=2023, basis="direct").assumptions)
    assert "average of 2023" in said
    assert "not fuel supply" in said
    assert "The intensity is 0" in " ".join(of_energy(g_per_kwh=0).assumptions)


@pytest.mark.parametrize(
    ("components", "boundary"),
    [
        (["gpu", "cpu", "dram"], "GPU + CPU + DRAM only"),
        (["cpu"], "CPU only"),
        (["other", "gpu"], "GPU + other devices only"),
        (["gpu", "node"], "whole node"),
        ([], "nothing metered"),
    ],
)
def test_the_boundary_names_what_is_metered(components: list[str], boundary: str) -> None:
    assert boundary_text(components) == boundary
    result = of_energy(components=components)
    assert result.boundary == boundary
    said = " ".join(result.assumptions)
    assert ("power supply are not in it" in said) == boundary.endswith("only")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pue": 0.99}, "PUE is 0.99"),
        ({"pue": -1}, "PUE is -1"),
        ({"pue": math.nan}, "PUE is nan"),
        ({"pue": math.inf}, "PUE is inf"),
        ({"energy_j": -1.0}, "energy is -1"),
        ({"g_per_kwh": -1.0}, "intensity is -1"),
        ({"g_per_kwh": math.nan}, "intensity is nan"),
        ({"components": ["gpu", "fans"]}, "'fans'"),
    ],
)
def test_the_impossible_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OrderError, match=says):
        of_energy(**given)
