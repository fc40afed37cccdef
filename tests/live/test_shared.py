"""Laws of the shared memory: settings and totals cross it whole."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest

from greenai.errors import OrderError
from greenai.live.shared import NAME_SLOTS, Region, Totals
from greenai.record.types import FIXED_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def region() -> Iterator[Region]:
    made = Region.create({"run_id": "abc", "pue": 1.2})
    yield made
    made.close()


def test_settings_cross(region: Region) -> None:
    assert region.config() == {"run_id": "abc", "pue": 1.2}


def test_settings_that_do_not_fit_are_refused_at_the_desk() -> None:
    with pytest.raises(OrderError, match="fit"):
        Region.create({"notes": "x" * 600_000})


def test_names_begin_with_the_fixed_ones_and_grow(region: Region) -> None:
    assert region.names() == FIXED_NAMES
    assert region.add_name("router_entropy") == len(FIXED_NAMES)
    assert region.names()[-1] == "router_entropy"


def test_too_many_or_too_long_names_are_refused(region: Region) -> None:
    with pytest.raises(OrderError):
        region.add_name("x" * 64)
    for number in range(NAME_SLOTS - len(FIXED_NAMES)):
        region.add_name(f"n{number}")
    with pytest.raises(OrderError):
        region.add_name("one more")


def test_totals_are_unknown_until_published(region: Region) -> None:
    assert math.isnan(region.totals().energy_j)
    assert not region.totals().closed
    assert math.isnan(region.totals().j_per_token)


def test_totals_cross_whole_while_they_change(region: Region) -> None:
    stop = threading.Event()

    def publish() -> None:
        number = 0.0
        while not stop.is_set():
            number += 1
            region.publish(Totals(*[number] * 12, closed=True))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(5000):
            totals = region.totals()
            values = {totals.energy_j, totals.steps_j, totals.settled_ns}
            assert len(values) == 1 or math.isnan(totals.energy_j)
    finally:
        stop.set()
        thread.join()


def test_closing_twice_does_nothing(region: Region) -> None:
    region.close()
    region.close()
