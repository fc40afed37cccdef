"""Laws of how a number reads: its scale, its digits, and that the unknown never reads as zero."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.exporters import quantities

UNKNOWNS = (None, math.nan, math.inf, -math.inf)
POSITIVE = st.floats(min_value=1e-6, max_value=1e12)
UNITS = {"nJ": 1e-9, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9, "TJ": 1e12}


@pytest.mark.parametrize("unknown", UNKNOWNS)
@pytest.mark.parametrize(
    "write",
    [
        quantities.energy,
        quantities.electricity,
        quantities.mass,
        quantities.power,
        quantities.duration,
        quantities.count,
        quantities.share,
        quantities.ratio,
        quantities.decimal,
    ],
)
def test_the_unknown_reads_unknown(write: object, unknown: float | None) -> None:
    assert write(unknown) == "unknown"  # type: ignore[operator] # a function of the list above


@given(POSITIVE)
def test_an_energy_reads_back_to_half_a_percent(energy_j: float) -> None:
    number, unit = quantities.energy(energy_j).split()
    assert float(number.replace(",", "")) * UNITS[unit] == pytest.approx(energy_j, rel=0.0051)


@given(POSITIVE)
def test_a_number_before_its_unit_is_at_least_one_and_below_a_thousand(energy_j: float) -> None:
    number = quantities.energy(energy_j).split()[0]
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("energy_j", "text"),
    [(0, "0 J"), (0.9996, "1.00 J"), (999.4, "999 J"), (999.6, "1.00 kJ"), (5e15, "5,000 TJ")],
)
def test_a_scale_changes_where_rounding_reaches_it(energy_j: float, text: str) -> None:
    assert quantities.energy(energy_j) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (3599.7, "1 h 0 min"),
        (86_399.0, "1 d 0 h"),
        (100 * 86_400.0, "100 d 0 h"),
    ],
)
def test_a_duration_carries_over(duration_s: float, text: str) -> None:
    assert quantities.duration(duration_s) == text


@given(st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True))
def test_a_part_is_neither_nothing_nor_all(part: float) -> None:
    assert quantities.share(part) not in {"0 %", "100 %", "0.0 %", "100.0 %"}


@given(st.lists(st.floats(min_value=0, max_value=1e9) | st.none(), min_size=1, max_size=8))
def test_a_column_has_one_number_of_decimals(values: list[float | None]) -> None:
    texts = quantities.aligned(values, "J").texts
    plain = [text for text in texts if text not in {"unknown", "0"} and not text.startswith("<")]
    assert len({len(text.partition(".")[2]) for text in plain}) <= 1


@given(st.lists(st.floats(min_value=0, max_value=1e9) | st.none(), min_size=1, max_size=8))
def test_in_a_column_only_zero_reads_zero(values: list[float | None]) -> None:
    for value, text in zip(values, quantities.aligned(values, "J").texts, strict=True):
        assert (value == 0) == (text == "0")
        assert (value is None) == (text == "unknown")


def test_half_an_interval_says_which_half_is_known() -> None:
    assert quantities.interval(None, 2_000.0, "J") == "at most 2.00 kJ"
    assert quantities.interval(2_000.0, None, "J") == "at least 2.00 kJ"
    assert quantities.interval(None, math.nan, "J") == "unknown"


@given(st.floats(min_value=1, max_value=1e9), st.floats(min_value=1.0001, max_value=3))
def test_the_ends_of_an_interval_can_be_told_apart(low: float, factor: float) -> None:
    low_text, _, high_text = quantities.interval(low, low * factor, "J").split()[:3]
    assert low_text != high_text
