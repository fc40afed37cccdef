"""Laws of energy to a loss: it is what was spent until then, and who never got there is named."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.analysis.comparable import RunFigures
from greenai.analysis.compare import compare
from greenai.analysis.target_loss import LossCurve, loss_curve, reached, target_of
from greenai.errors import ComparisonError

STEPS = 400


def curve_of(
    power_w: float = 100.0, half_s: float = 100.0, noise: float = 0.0, seed: int = 0
) -> LossCurve:
    """Loss falls from 4 to 1, by half of what is left every ``half_s`` seconds; a step is 1 s."""
    second = np.arange(1, STEPS + 1)
    rng = np.random.default_rng(seed)
    loss = 1 + 3 * 0.5 ** (second / half_s) + rng.normal(0, noise, STEPS)
    found = loss_curve(loss, np.full(STEPS, power_w), np.ones(STEPS))
    assert found is not None
    return found


def runs_of(variant: str, n: int = 4, half_s: float = 100.0, **given: Any) -> list[RunFigures]:
    return [
        RunFigures(
            f"{variant}-{k}",
            variant,
            1e4,
            400.0,
            {"token": 1e6},
            {"measured": 1.0},
            pair=f"seed {k}",
            devices=("H200",),
            coverage=1.0,
            curve=curve_of(half_s=half_s * (1 + 0.01 * k), noise=0.02, seed=k),
            **{"seed": f"seed {k}", **given},
        )
        for k in range(n)
    ]


def test_the_energy_at_a_loss_is_the_analytic_one() -> None:
    # Loss 2.5 is half of the way down: 100 s at 100 W.
    energy_j, duration_s, known = reached(curve_of(), 2.5) or (0, 0, 0)
    assert energy_j == pytest.approx(10_000, rel=0.005)
    assert duration_s == pytest.approx(100, rel=0.005)
    assert known == 1


def test_noise_of_the_batches_is_smoothed_away() -> None:
    crossings = [reached(curve_of(noise=0.1, seed=seed), 2.5) for seed in range(20)]
    seconds = [crossing[1] for crossing in crossings if crossing]
    assert len(seconds) == 20
    assert np.mean(seconds) == pytest.approx(100, abs=3)
    assert np.std(seconds) < 4


@given(
    st.lists(st.one_of(st.floats(0, 20), st.just(math.nan)), max_size=120),
    st.floats(-1, 21),
)
def test_a_curve_never_rises_and_a_lower_loss_never_costs_less(
    losses: list[float], target: float
) -> None:
    ones = np.ones(len(losses))
    curve = loss_curve(np.array(losses), ones, ones)
    if curve is None:
        return
    assert (np.diff(curve.loss) <= 0).all()
    assert (np.diff(curve.energy_j) > 0).all()
    now, later = reached(curve, target), reached(curve, target - 0.5)
    if now and later:
        assert later[0] >= now[0]
    if now:
        assert curve.energy_j[0] <= now[0] <= curve.energy_j[-1]


@pytest.mark.parametrize("losses", [[], [math.nan] * 50, [3.0, 2.0, 1.0], [math.inf] * 9])
def test_few_losses_are_no_curve(losses: list[float]) -> None:
    ones = np.ones(len(losses))
    assert loss_curve(np.array(losses), ones, ones) is None


def test_losses_that_are_noted_now_and_then_are_enough() -> None:
    second = np.arange(1, STEPS + 1)
    loss = np.where(second % 10 == 0, 1 + 3 * 0.5 ** (second / 100), math.nan)
    curve = loss_curve(loss, np.full(STEPS, 100.0), np.ones(STEPS))
    assert curve is not None
    crossing = reached(curve, 2.0)
    assert crossing is not None
    assert crossing[0] == pytest.approx(100 * 100 * math.log2(3), rel=0.01)


def test_unknown_energy_is_taken_at_mean_power_and_said() -> None:
    energy_j = np.full(STEPS, 100.0)
    energy_j[:10] = math.nan
    loss = 1 + 3 * 0.5 ** (np.arange(1, STEPS + 1) / 100)
    curve = loss_curve(loss, energy_j, np.ones(STEPS))
    assert curve is not None
    spent_j, _, known = reached(curve, 2.5) or (0, 0, 0)
    assert spent_j == pytest.approx(10_000, rel=0.005)
    assert known == pytest.approx(0.9, abs=0.001)


def test_without_any_energy_the_time_is_still_known() -> None:
    loss = np.linspace(4, 1, STEPS)
    curve = loss_curve(loss, np.full(STEPS, math.nan), np.ones(STEPS))
    assert curve is not None
    energy_j, duration_s, known = reached(curve, 2.5) or (0, 0, 0)
    assert math.isnan(energy_j)
    assert duration_s == pytest.approx(200, abs=1)
    assert known == 0


def test_who_learns_in_half_the_time_needs_half_the_energy() -> None:
    runs = runs_of("dense") + runs_of("moe", half_s=50.0)
    comparison = compare(runs, "dense", per="loss:2.5")
    result = comparison.results[0]
    assert result.ratio == pytest.approx(0.5, rel=0.02)
    assert (result.verdict, result.time_verdict, result.n) == ("less", "less", 4)
    assert comparison.baseline_mean == pytest.approx(10_150, rel=0.02)
    assert "warm-up included" in comparison.notes[-1]


def test_a_run_that_never_reaches_the_loss_is_named_and_not_left_out() -> None:
    runs = runs_of("dense") + runs_of("moe", half_s=50.0)
    runs[-1] = dataclasses.replace(runs[-1], curve=curve_of(half_s=1e4))
    comparison = compare(runs, "dense", per="loss:2.5")
    result = comparison.results[0]
    assert math.isnan(result.ratio)
    assert (result.verdict, result.reason) == ("not resolved", "never reached loss 2.5: moe-3")
    assert result.time_reason == result.reason
    assert "moe-3: not passed" in comparison.notes[-1]


def test_a_run_that_begins_below_the_loss_is_named() -> None:
    runs = runs_of("dense") + runs_of("moe")
    late = curve_of()
    runs[-1] = dataclasses.replace(runs[-1], curve=dataclasses.replace(late, loss=late.loss - 2))
    result = compare(runs, "dense", per="loss:2.5").results[0]
    assert result.reason == "began below loss 2.5: moe-3"


@pytest.mark.parametrize(
    ("n", "given", "reason"),
    [
        (2, {}, "fewer than 3 seeds"),
        (1, {}, "fewer than 3 seeds"),
        (4, {"seed": "seed 7"}, "fewer than 3 seeds"),
        (4, {"seed": None}, "seeds unknown"),
    ],
)
def test_a_loss_takes_three_seeds(n: int, given: dict[str, Any], reason: str) -> None:
    runs = runs_of("dense", n, **given) + runs_of("moe", n, half_s=50.0, **given)
    result = compare(runs, "dense", per="loss:2.5").results[0]
    assert result.ratio == pytest.approx(0.5, rel=0.02)
    assert (result.verdict, result.reason) == ("not resolved", reason)
    assert (result.time_verdict, result.time_reason) == ("not resolved", reason)


def test_energy_that_is_unknown_too_long_withholds_the_verdict_and_is_assumed() -> None:
    runs = runs_of("dense") + runs_of("moe", half_s=50.0)
    for k, run in enumerate(runs):
        assert run.curve is not None
        known = np.full(len(run.curve.loss), 0.9)
        curve = dataclasses.replace(run.curve, known_share=known)
        runs[k] = dataclasses.replace(run, curve=curve)
    result = compare(runs, "dense", per="loss:2.5").results[0]
    assert (result.verdict, result.reason) == ("not resolved", "only 90% of a run covered")
    assert result.trust["assumed"] == pytest.approx(0.1)
    assert sum(result.trust.values()) == pytest.approx(1)


def test_a_loss_that_nobody_passed_is_refused_with_one_that_all_did() -> None:
    runs = runs_of("dense") + runs_of("moe")
    with pytest.raises(ComparisonError, match=r"No run passed the loss 0\.5") as caught:
        compare(runs, "dense", per="loss:0.5")
    assert "--per loss:X with X from 1." in caught.value.hint


def test_losses_without_overlap_leave_the_comparison_of_work() -> None:
    curve = curve_of()
    low = dataclasses.replace(curve, loss=curve.loss - 3)
    runs = runs_of("dense") + [dataclasses.replace(r, curve=low) for r in runs_of("moe")]
    with pytest.raises(ComparisonError) as caught:
        compare(runs, "dense", per="loss:9")
    assert caught.value.hint == "compare --per token or step"


def test_runs_without_losses_are_named() -> None:
    runs = runs_of("dense") + [dataclasses.replace(r, curve=None) for r in runs_of("moe")]
    with pytest.raises(ComparisonError, match="4 of 8 runs have too few losses: moe-0") as caught:
        compare(runs, "dense", per="loss:2.5")
    assert "compare --per token or step" in caught.value.hint


def test_losses_of_unlike_tokenizers_are_refused() -> None:
    runs = runs_of("dense", tokenizer="bytes") + runs_of("moe", tokenizer="gpt2")
    with pytest.raises(ComparisonError, match="unlike tokenizers"):
        compare(runs, "dense", per="loss:2.5")


@pytest.mark.parametrize("per", ["loss:", "loss:low", "loss:nan", "loss:inf"])
def test_what_is_no_loss_is_refused(per: str) -> None:
    with pytest.raises(ComparisonError, match="names no loss"):
        target_of(per)
