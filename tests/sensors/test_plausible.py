"""Laws of doubt: what a device can do is believed, a misread is not, a reset is after a second."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.sensors.plausible import Plausible, doubt_power

MS = 1_000_000
REFRESH_NS = 100 * MS
POWER_MAX_W = 840.0

courses = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(0, POWER_MAX_W)), min_size=2, max_size=60
)
"""Milliseconds until the next read, and the mean power until then."""


def counted(course: list[tuple[int, float]], start_j: float = 1e6) -> list[tuple[int, float]]:
    """Reads of a counter that is up to date: time and joules."""
    t_ns, energy_j, reads = 0, start_j, [(0, start_j)]
    for pause_ms, power_w in course:
        t_ns += pause_ms * MS
        energy_j += power_w * pause_ms / 1e3
        reads.append((t_ns, energy_j))
    return reads


@given(courses)
def test_a_counter_is_believed_whatever_the_device_draws(course: list[tuple[int, float]]) -> None:
    counter = Plausible(POWER_MAX_W, REFRESH_NS)
    assert [counter.doubt(*read) for read in counted(course)] == [""] * (len(course) + 1)


@given(courses, st.data(), st.sampled_from([0.0, 0.1, 0.5, 10.0]))
def test_one_misread_value_costs_one_reading(
    course: list[tuple[int, float]], data: st.DataObject, factor: float
) -> None:
    reads = counted(course)
    wrong = data.draw(st.integers(1, len(reads) - 1))
    reads[wrong] = (reads[wrong][0], reads[wrong][1] * factor)
    counter = Plausible(POWER_MAX_W, REFRESH_NS)
    doubts = [bool(counter.doubt(*read)) for read in reads]
    assert doubts == [at == wrong for at in range(len(reads))]


def test_a_value_that_stands_still_is_never_taken_for_a_reset() -> None:
    counter = Plausible(POWER_MAX_W, REFRESH_NS)
    counter.doubt(0, 5000.0)
    assert all("fell" in counter.doubt(at * 20 * MS, 0.0) for at in range(1, 1000))
    assert counter.doubt(20_000 * MS, 9000.0) == ""


def test_a_counter_that_starts_anew_is_believed_after_a_second() -> None:
    counter = Plausible(POWER_MAX_W, REFRESH_NS)
    counter.doubt(0, 5000.0)
    doubts = [counter.doubt(at * 100 * MS, at * 30.0) for at in range(1, 20)]
    believed = [at for at, doubt in enumerate(doubts, start=1) if not doubt]
    assert believed == list(range(11, 20))
    assert doubts[0] == "the counter fell from 5000.000 J to 30.000 J"


def test_a_first_value_that_was_wrong_does_not_stay() -> None:
    counter = Plausible(POWER_MAX_W, REFRESH_NS)
    counter.doubt(0, 0.0)
    doubts = [counter.doubt(at * 100 * MS, 1e9 + at * 30.0) for at in range(1, 20)]
    assert "leapt" in doubts[0]
    assert doubts[-1] == ""


def test_without_a_known_limit_only_the_impossible_is_doubted() -> None:
    counter = Plausible(math.nan, REFRESH_NS)
    counter.doubt(0, 1e6)
    assert counter.doubt(100 * MS, 1e6 + 300) == ""
    assert "leapt" in counter.doubt(200 * MS, 1e7)


@pytest.mark.parametrize(
    ("power_w", "power_max_w", "can_be"),
    [
        (75.0, 840.0, True),
        (1000.0, 840.0, True),
        (1100.0, 840.0, False),
        (0.0, 840.0, False),
        (-5.0, 840.0, False),
        (math.nan, 840.0, False),
        (2000.0, math.nan, True),
        (0.0, math.nan, False),
        (20_000.0, math.nan, False),
    ],
)
def test_a_power_is_more_than_nothing_and_less_than_the_limit_allows(
    power_w: float, power_max_w: float, can_be: object
) -> None:
    assert (doubt_power(power_w, power_max_w) == "") == can_be
