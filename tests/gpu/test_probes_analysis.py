"""Laws of what the probes of a real GPU make of their readings, on cards whose truth is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gpu import check, loops
from gpu.loops import Bench
from gpu.package import NoEvents
from gpu.probes import (
    Result,
    Skipped,
    Wave,
    coverage,
    fit_clock,
    fit_work,
    mean_interval,
    paired_ratio,
    refresh_gaps_ms,
    spread,
    table,
    to_json,
)
from simulation.virtual import VirtualClock
from simulation.virtual_card import VirtualCard, VirtualMeter

from greenai.diagnosis import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_000_000


def bench_of(*, drift_ppm: float = 0.0, seconds: float = 5.0, **meter: Any) -> Bench:
    clock = VirtualClock()
    card = VirtualCard(clock, drift_ppm=drift_ppm)
    told = VirtualMeter(clock, card.energy_j, **meter)
    return Bench(card, told, clock.clock_ns, clock.sleep_s, seconds)


def value_of(results: Sequence[Result], what: str) -> float:
    (found,) = [one.value for one in results if one.what == what]
    return found


def test_gaps_are_those_between_new_values() -> None:
    seen = [Seen(k * 2 * MS, k * 2 * MS, float(k // 10), in_call=True) for k in range(100)]
    assert refresh_gaps_ms(seen) == pytest.approx([20.0] * 8)
    assert refresh_gaps_ms(seen[:5]) == []


def test_the_work_model_finds_its_two_constants_and_who_does_not_fit() -> None:
    shapes = [(6.0, 1000), (6.0, 2000), (7.0, 3000), (6.5, 0)]
    waves = [Wave("", s, n, 90 * s + 0.5 * n) for s, n in shapes]
    model = fit_work(waves)
    assert model.rest_w == pytest.approx(90)
    assert model.unit_j == pytest.approx(0.5)
    assert model.full_time
    assert model.worst_percent < 1e-9
    blind = [*waves, Wave("blind", 6.0, 3000, 0.8 * (90 * 6 + 1500))]
    odd = fit_work(blind)
    assert not odd.full_time
    assert max(range(5), key=lambda k: abs(odd.residual_percent[k])) == 4


def test_drift_and_residual_of_a_clock() -> None:
    host_ns = [k * 1e9 + 5e15 for k in range(20)]
    line = fit_clock([k * 1e3 * (1 + 30e-6) for k in range(20)], host_ns)
    assert line.drift_ppm == pytest.approx(30)
    assert line.worst_us < 0.1


def test_the_interval_of_a_ratio_holds_the_truth_19_times_in_20() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        base = random.normal(100, 1, 10)
        found = paired_ratio(base * 1.002 * random.normal(1, 0.002, 10), base)
        held += found.low <= 1.002 <= found.high
    assert 370 <= held <= 392
    assert math.isnan(mean_interval([1.0]).low)


def test_coverage_counts_known_intervals_only() -> None:
    assert coverage([0, 2, math.nan, 0], [1, 3, 9, math.nan], 0.5) == 0.5
    assert math.isnan(coverage([math.nan], [1], 0.5))


def test_what_was_not_had_is_no_number() -> None:
    rows = [Result("T1", "call", math.nan, "µs", 0), Result("T2", "gap", 100.0, "ms", 29)]
    text = table(rows, [Skipped("T3", "no events")])
    assert "not had" in text
    assert "not run: no events" in text
    plain = to_json({"device": "a"}, rows, [Skipped("T3", "no events")])
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert [row["value"] for row in plain["results"]] == [None, 100.0]
    assert [one.value for one in spread("T1", "x", [], "µs")] == pytest.approx(
        [math.nan] * 3, nan_ok=True
    )


@pytest.mark.parametrize("refresh_ms", [20, 100])
@pytest.mark.parametrize("loaded", [False, True])
def test_the_refresh_of_the_counter_is_found_at_rest_and_loaded(
    refresh_ms: float, *, loaded: bool
) -> None:
    results = loops.refreshes(bench_of(refresh_ms=refresh_ms), loaded=loaded)
    state = "loaded" if loaded else "at rest"
    median_ms = value_of(results, f"energy counter changes, {state}, p50")
    assert median_ms == pytest.approx(refresh_ms, abs=1.5)
    assert math.isnan(value_of(results, f"plain power changes, {state}, p50"))


def test_the_latency_of_each_call_is_found_under_load_too() -> None:
    bench = bench_of(latency_ns=55_000)
    for state in (False, True):
        results = loops.latencies(bench, loaded=state)
        assert {one.value for one in results if one.n} == {55.0}
        assert {one.n for one in results if "plain" in one.what} == {0}


def test_under_load_the_queue_is_never_empty_and_never_long() -> None:
    bench = bench_of()
    start_ns = bench.clock_ns()
    loops.watch(bench, 5.0, loaded=True)
    took_s = (bench.clock_ns() - start_ns) / 1e9
    assert 5.0 <= took_s <= 5.0 + 2 * loops.AHEAD_S
    card: Any = bench.card
    used_j = card.energy_j(card.now_s())
    assert used_j == pytest.approx(card.work_w * took_s, rel=0.02)


def test_a_full_time_counter_fits_the_square_waves_and_a_part_time_one_does_not() -> None:
    for part_time in (False, True):
        results = loops.aliasing(bench_of(part_time=part_time))
        worst = value_of(results, "worst residual (<= 1: full-time)")
        assert (worst > 5) if part_time else (worst < 1)
        if not part_time:
            assert value_of(results, "power at rest, fitted") == pytest.approx(90, rel=0.02)
            unit_j = value_of(results, "energy of a unit of work, fitted")
            assert unit_j == pytest.approx(0.51, rel=0.02)
        phases = [one for one in results if one.what.startswith("residual of 100 ms")]
        assert len(phases) == 4


def test_a_counter_that_stands_still_ends_the_wave_with_a_reason() -> None:
    bench = bench_of()
    bench.meter.energy_j = lambda: 5.0  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"stands at 5\.0 J"):
        loops.next_change(bench)


@pytest.mark.parametrize("gain", [1.0, 1.1])
def test_the_integral_of_power_is_held_against_the_counter(gain: float) -> None:
    for loaded in (False, True):
        results = loops.integral(bench_of(gain=gain), loaded=loaded)
        state = "loaded" if loaded else "at rest"
        difference = value_of(results, f"counter - power, {state}")
        assert difference == pytest.approx(100 * (gain - 1), abs=1)


def test_events_show_their_cost_the_bracket_and_the_drift() -> None:
    results = loops.events(bench_of(drift_ppm=30))
    assert value_of(results, "record, p50") == 2.0
    assert value_of(results, "drift of the clock over 20 s") == pytest.approx(30, abs=1)
    assert value_of(results, "anchor's bracket, idle, p50") == pytest.approx(2.0)
    assert value_of(results, "worst residual of that line") < 5


def test_a_probe_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    def fails() -> list[Result]:
        raise RuntimeError("lost")

    def has_none() -> list[Result]:
        raise NoEvents("no events here")

    kept = Result("c", "x", 1.0, "J")
    results, skipped = check.run({"a": fails, "b": has_none, "c": lambda: [kept]}, lambda _: None)
    assert results == [kept]
    assert skipped == [Skipped("a", "FAILED: RuntimeError: lost"), Skipped("b", "no events here")]
    check.write({"device": "d"}, results, skipped, tmp_path / "new" / "check.json")
    plain = json.loads((tmp_path / "new" / "check.json").read_text("utf-8"))
    assert plain["device"] == "d"
    assert plain["results"][0]["value"] == 1.0


def test_without_a_device_the_check_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpu.card.why_none", lambda: "no CUDA device")
    assert check.main([]) == 1
    assert "no CUDA device" in capsys.readouterr().err
    assert check.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(check.probes(None, None, Path()))  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        check.main(["--only", "T9"])
