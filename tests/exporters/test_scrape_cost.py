"""Laws of what a scrape costs: bytes are bounded, and work is that of the new tail alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from simulation.live_job import WATTS, LiveJob

from greenai.exporters.exposition import text_of
from greenai.exporters.prometheus import registry_of

if TYPE_CHECKING:
    from types import FrameType


def calls_of(scrape: Any) -> int:
    """How many functions are called, those written in C among them."""
    count = 0

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        scrape()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture(scope="module")
def found() -> list[tuple[int, int, int, int, float]]:
    """Steps, calls of a scrape, bytes of it and of live.json, and power, of a job that grows."""
    job = LiveJob(gpus=8, steps_per_s=50)
    registry = registry_of(job.serving.figures)
    rows = []
    for seconds in (20, 180):
        job.run(seconds - 1)
        for _ in range(2):  # the first scrape of a process fills caches
            job.feed()
            calls = calls_of(lambda: text_of(registry.collect()))
        live = len(json.dumps(job.serving.live()))
        power_w = job.serving.figures()[0].devices[0].power_w or 0.0
        rows.append((job.steps, calls, len(text_of(registry.collect())), live, power_w))
    return rows


def test_a_scrape_does_no_more_after_ten_times_the_steps(
    found: list[tuple[int, int, int, int, float]],
) -> None:
    (few, calls, _, _, _), (many, later_calls, _, _, power_w) = found
    assert many > 9 * few
    assert power_w == pytest.approx(WATTS, rel=0.01)  # it is the real work that is counted
    assert later_calls < 1.1 * calls


def test_a_scrape_and_live_json_of_eight_gpus_stay_below_64_kb(
    found: list[tuple[int, int, int, int, float]],
) -> None:
    for _, _, scraped, live, _ in found:
        assert 5_000 < scraped < 64_000
        assert 5_000 < live < 64_000
    assert found[1][2] - found[0][2] < 200


def test_eight_ranks_of_one_gpu_each_stay_below_64_kb_too() -> None:
    job = LiveJob(gpus=1)
    job.run(5)
    several = job.as_ranks(8)
    text = text_of(registry_of(lambda: several).collect()).decode()
    assert len(text) < 64_000
    assert text.count("\ngreenai_router_load_ratio{") == 64
    assert text.count("\ngreenai_power_watts{") == 8
