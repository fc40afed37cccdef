"""What `make bench` says of the slow-down by trackers: its arithmetic, and who is left out."""

from __future__ import annotations

import math
import os
import random
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slowdown.ratios import Found, Pair, Ratio, ends, notes, ratio_of, slow_downs, verdict
from slowdown.trackers import NOBODY, TRACKERS, Tracker, missing, nobody

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCH = Path(__file__).with_name("bench") / "overhead.py"


def pairs_of(slow_down: float, noise: float, n: int, *, drift: float = 0.0, seed: int = 1) -> Any:
    """Blocks of 0.5 s that load disturbs, the tracker's longer by a known share; order by turns."""
    chance = random.Random(seed)  # noqa: S311 - noise, no secret
    pairs = []
    for turn in range(n):
        with_first = turn % 2 == 0
        first, second = (0.5 * math.exp(chance.gauss(0, noise)) for _ in range(2))
        second *= 1 + drift
        ours, theirs = (first, second) if with_first else (second, first)
        pairs.append(Pair(ours * (1 + slow_down), theirs, with_first=with_first))
    return pairs


def found_of(pairs: Sequence[Pair], **more: Any) -> Found:
    lengths = {1: pairs, 10: pairs, 100: pairs}
    return Found(whole=lengths, middle=lengths, thread=lengths, **more)


@pytest.mark.parametrize("slow_down", [0.0, 0.005, 0.18])
def test_the_interval_covers_a_known_slow_down_in_19_of_20_benches(slow_down: float) -> None:
    found = [ratio_of(pairs_of(slow_down, 0.03, 8, seed=seed)) for seed in range(300)]
    covered = sum(each.low <= 1 + slow_down <= each.high for each in found)
    assert 0.91 <= covered / 300 <= 0.99
    assert found[0].ratio != found[1].ratio


def test_a_machine_that_grows_slower_is_no_slow_down() -> None:
    found = ratio_of(pairs_of(0.0, 1e-4, 10, drift=0.2))
    assert found.ratio == pytest.approx(1, abs=1e-3)
    assert found.high - found.low < 1e-3


def test_one_pair_says_a_ratio_and_no_interval_and_none_says_nothing() -> None:
    one = ratio_of(pairs_of(0.1, 0.0, 1))
    assert one.ratio == pytest.approx(1.1)
    assert math.isnan(one.low)
    assert verdict(one, 0.01) == "not resolved"
    assert str(one) == "+10.00 % [one pair]"
    assert str(ratio_of([])) == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.98, 1.01, "met"),
        (0.98, 1.0101, "not resolved"),
        (1.0, 1.3, "not resolved"),
        (1.0101, 1.3, "MISSED"),
    ],
)
def test_a_target_counts_as_met_or_missed_only_beyond_the_noise(
    low: float, high: float, said: str
) -> None:
    assert verdict(Ratio(1.0, low, high, 5), 0.01) == said


def test_the_table_prints_target_and_figure_of_a_miss_and_the_noise_first() -> None:
    lines = slow_downs(
        {
            NOBODY: found_of(pairs_of(0.0, 0.001, 12)),
            "slow": found_of(pairs_of(0.05, 0.001, 12)),
        },
        NOBODY,
    )
    noise, slow = lines[1:3]
    assert "noise floor: ±0." in noise
    assert "MISSED" not in noise
    assert slow.endswith("<= 1.0%  MISSED")
    assert "+5." in slow or "+4.9" in slow
    assert [line.split()[0] for line in lines[1:]] == ["1", "1", "10", "10", "100", "100"]
    assert "<=" not in lines[6]  # no target is stated at 100 ms


def test_a_call_that_takes_more_than_the_target_misses_it_whatever_the_noise() -> None:
    pairs = pairs_of(0.0, 0.3, 12)
    calls_us = {1: [4.0, 5.0, 90.0], 10: [33.0]}
    lines = slow_downs({"tracker": found_of(pairs, call_us=calls_us)}, NOBODY)
    assert lines[1].endswith("5.0  <= 1.0%  not resolved")
    assert lines[2].endswith("33.0  <= 0.1%  MISSED: the call alone is 0.33%")


def test_the_first_start_of_a_process_is_judged_and_later_ones_are_shown() -> None:
    pairs = pairs_of(0.0, 0.001, 2)
    times = {"import_ms": [64.0], "lost_ms": [5.0], "start_ms": [400.0, 20.0, 30.0]}
    good = found_of(pairs, first_ms=[50.0, 49.0, 300.0], stop_ms=[10.0, 20.0, 900.0], **times)
    bad = found_of(pairs, first_ms=[51.0], stop_ms=[300.0], **times)
    lines = [" ".join(line.split()) for line in ends({"good": good, "bad": bad})]
    assert lines[1] == "good 64 50.0 50 met 30.0 +5.0 20.0 200 met"
    assert lines[2] == "bad 64 51.0 50 MISSED 30.0 +5.0 300.0 200 MISSED"


def test_who_is_not_installed_is_named_and_who_fails_says_why() -> None:
    absent = missing({**TRACKERS, "nobody's": Tracker("not_a_module_at_all.part", nobody)})
    assert "nobody's" in absent
    assert "greenai" not in absent
    said = notes({"Zeus": found_of([], note="failed: no GPU")}, absent)
    assert said[0] == "Zeus: failed: no GPU"
    assert "not compared: " in said[1]
    assert "nobody's" in said[1]
    assert "pip install" in said[1]
    assert slow_downs({"Zeus": found_of([])}, NOBODY)[1].split()[4] == "unknown"
    assert len(ends({"Zeus": found_of([])})) == 1


def worker(name: str, environment: dict[str, str], folder: Path) -> Any:
    return runpy.run_path(str(BENCH))["Worker"](name, environment, folder)


def test_a_tracker_that_fails_is_left_out_and_said(tmp_path: Path) -> None:
    failing = worker("unheard-of", dict(os.environ), tmp_path)
    failing.pair([(1, 1, 1)])
    failing.end()
    assert failing.note.startswith("failed: KeyError")
    assert failing.found().start_ms == []


def test_blocks_do_the_same_steps_leave_nothing_and_say_who_never_asked_the_driver(
    tmp_path: Path,
) -> None:
    blind = worker("greenai", {**os.environ, "GREENAI_SENSORS": "assumed:host=1"}, tmp_path)
    blind.start_afresh()
    sections = [(100, 3, 2), (1, 1, 3), (10, 2, 2)]
    told = blind._ask(sections, beginning=4, with_first=False)
    for side in ("with", "without"):
        times_s = told[side]["times_s"]
        assert set(times_s) == {"1", "10", "100"}
        assert all(0 < each["middle"] <= each["whole"] for each in times_s.values())
        assert told[side]["beginning_s"] > 0
    ours, theirs = (told[side]["times_s"]["1"]["call"] for side in ("with", "without"))
    assert ours > theirs
    assert told["with"]["left"] == ""
    for _ in range(2):
        blind.pair(sections)
    blind.end()
    assert list((tmp_path / "greenai").iterdir()) == []
    found = blind.found()
    assert "never called the GPUs' driver" in found.note
    assert [pair.with_first for pair in found.whole[10]] == [True, False]
    assert all(len(kind[100]) == 2 for kind in (found.middle, found.thread, found.call_us))
    assert len(found.import_ms) == len(found.first_ms) == 2  # of two processes
    assert len(found.start_ms) == len(found.lost_ms) == len(found.stop_ms) == 2
