"""Laws that only a real GPU can judge; skipped, with the reason, where there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from gpu import card as cards
from gpu import loops, package

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpu.probes import Result

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def card() -> cards.CudaCard:
    if reason := cards.why_none():
        pytest.skip(reason)
    return cards.CudaCard()


@pytest.fixture(scope="module")
def bench(card: cards.CudaCard) -> loops.Bench:
    devices = [card.uuid] if card.uuid else None
    return loops.Bench(card, cards.NvmlMeter(card.uuid or None), seconds=3.0, devices=devices)


def value_of(results: Sequence[Result], what: str) -> float:
    (found,) = [one.value for one in results if one.what == what]
    return found


def test_the_counter_is_refreshed_within_what_the_sensor_assumes(bench: loops.Bench) -> None:
    from greenai.sensors.nvml_board import REFRESH_NS  # noqa: PLC0415 - beside its use

    for loaded, state in ((False, "at rest"), (True, "loaded")):
        results = loops.refreshes(bench, loaded=loaded)
        assert value_of(results, f"energy counter changes, {state}, p50") <= REFRESH_NS / 1e6


def test_the_counter_is_the_integral_of_power(bench: loops.Bench) -> None:
    results = loops.integral(bench, loaded=True)
    apart = abs(value_of(results, "counter - power, loaded"))
    assert apart - value_of(results, "its 95 % interval, ±, loaded") <= 5


def test_events_cost_a_few_microseconds(bench: loops.Bench) -> None:
    results = loops.events(bench)
    calls = ("record", "query", "elapsed_time", "current_stream", "is_capturing")
    assert sum(value_of(results, f"{call}, p50") for call in calls) < 40  # five times the budget
    assert abs(value_of(results, "drift of the clock over 20 s")) < 1000


def test_event_boundaries_lie_before_the_wait_for_them_ends(
    bench: loops.Bench, tmp_path: Path
) -> None:
    try:
        results = package.boundaries(bench, tmp_path)
    except package.NoEvents as reason:
        pytest.skip(str(reason))
    assert value_of(results, "waited - event, p0") > -500
    assert value_of(results, "waited - event, p50") < 500


def test_intervals_hold_what_long_runs_say(
    bench: loops.Bench, card: cards.CudaCard, tmp_path: Path
) -> None:
    results = package.classes(bench, card, tmp_path, durations_ms=(500,), run_s=20.0)
    for kind in ("heavy", "light"):
        held = value_of(results, f"{kind} steps of 500 ms: intervals that hold it")
        assert math.isfinite(held)
        assert held >= 90  # clocks and temperature move between the runs
