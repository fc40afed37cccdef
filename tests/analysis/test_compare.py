"""Laws of a comparison: the run is the unit, and there is no verdict without evidence for it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from greenai.analysis.compare import Comparison, Result, RunFigures, compare
from greenai.analysis.resampling import Block
from greenai.errors import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEASURED = {"measured": 1.0, "modelled": 0.0, "assumed": 0.0}
POSITIVE = st.floats(0.1, 10)


def runs_of(
    energies: Mapping[str, Sequence[float]], *, paired: bool = True, **given: Any
) -> list[RunFigures]:
    usual: dict[str, Any] = {
        "amounts": {"token": 1000.0},
        "trust": MEASURED,
        "devices": ("H200",),
        "coverage": 1.0,
    }
    return [
        RunFigures(
            run_id=f"{variant}-{n}",
            variant=variant,
            energy_j=float(energy_j),
            duration_s=float(energy_j) / 50,
            pair=f"seed {n}" if paired else None,
            **usual | given,
        )
        for variant, of_variant in energies.items()
        for n, energy_j in enumerate(of_variant)
    ]


DENSE = [100.0, 104.0, 98.0, 101.0, 103.0]
MOE = [81.0, 84.0, 78.0, 82.0, 83.0]


def test_paired_runs_give_the_t_interval_on_log_ratios() -> None:
    result = compare(runs_of({"dense": DENSE, "moe": MOE}), "dense").results[0]
    logs = np.log(MOE) - np.log(DENSE)
    expected = stats.ttest_1samp(logs, 0)
    interval = np.exp(expected.confidence_interval(0.95))
    assert (result.n, result.paired) == (5, True)
    assert result.ratio == pytest.approx(np.exp(logs.mean()))
    assert (result.low, result.high) == pytest.approx(tuple(interval))
    assert result.p_adjusted == pytest.approx(expected.pvalue)
    assert (result.verdict, result.reason) == ("less", "")
    assert result.mean == pytest.approx(stats.gmean(MOE) / 1000)


def test_unpaired_runs_are_compared_by_welch_on_logs() -> None:
    comparison = compare(runs_of({"dense": DENSE, "moe": MOE[:3]}, paired=False), "dense")
    result = comparison.results[0]
    expected = stats.ttest_ind(np.log(MOE[:3]), np.log(DENSE), equal_var=False)
    interval = np.exp(expected.confidence_interval(0.95))
    assert (result.n, result.paired) == (3, False)
    assert (result.low, result.high) == pytest.approx(tuple(interval))
    assert result.p_adjusted == pytest.approx(expected.pvalue)
    assert "moe: compared unpaired (Welch)" in comparison.notes[0]


def test_runs_are_paired_by_their_key_and_not_by_their_order() -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE})
    assert compare(runs[::-1], "dense").to_json() == compare(runs, "dense").to_json()


@pytest.mark.parametrize("change", [{"pair": None}, {"pair": "seed 0"}, {"pair": "seed 9"}])
def test_a_run_without_its_one_partner_leaves_all_unpaired(change: dict[str, Any]) -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE})
    runs[-1] = dataclasses.replace(runs[-1], **change)
    assert not compare(runs, "dense").results[0].paired


def test_one_run_each_gives_a_ratio_and_no_verdict() -> None:
    result = compare(runs_of({"dense": [100], "moe": [80]}), "dense").results[0]
    assert result.ratio == pytest.approx(0.8)
    assert (result.verdict, result.reason) == ("not resolved", "one run each")
    assert (result.time_verdict, result.time_reason) == ("not resolved", "one run each")
    assert math.isnan(result.low)
    assert math.isnan(result.mde)


def test_one_run_against_several_gives_no_verdict() -> None:
    result = compare(runs_of({"dense": DENSE, "moe": [80]}), "dense").results[0]
    assert (result.verdict, result.reason) == ("not resolved", "one run of a side")


def test_equal_numbers_in_all_repeats_are_no_evidence() -> None:
    result = compare(runs_of({"dense": [100] * 3, "moe": [80] * 3}), "dense").results[0]
    assert (result.verdict, result.reason) == ("not resolved", "no variation")


def test_modelled_energy_gets_no_verdict_and_the_time_ratio_gets_one() -> None:
    trust = {"measured": 0.4, "modelled": 0.6, "assumed": 0.0}
    comparison = compare(runs_of({"dense": DENSE, "moe": MOE}, trust=trust), "dense")
    result = comparison.results[0]
    assert (result.verdict, result.reason) == ("not resolved", "modelled")
    assert result.high < 1
    assert result.time_verdict == "less"
    assert result.time_ratio == pytest.approx(result.ratio)
    assert result.trust == pytest.approx(trust)
    assert any("only the time ratio gets a verdict" in note for note in comparison.notes)


def test_one_modelled_side_is_enough_to_withhold_the_verdict() -> None:
    runs = runs_of({"dense": DENSE}) + runs_of({"moe": MOE}, trust={"assumed": 1.0})
    assert compare(runs, "dense").results[0].reason == "modelled"


def test_little_modelled_energy_is_shown_as_trust_and_does_not_withhold_it() -> None:
    trust = {"measured": 0.9, "modelled": 0.1, "assumed": 0.0}
    result = compare(runs_of({"dense": DENSE, "moe": MOE}, trust=trust), "dense").results[0]
    assert result.verdict == "less"
    assert result.trust == pytest.approx(trust)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"energy_j": math.nan}, "energy unknown: moe-4"),
        ({"energy_j": 0.0}, "energy unknown: moe-4"),
        ({"trust": {}}, "trust unknown"),
        ({"coverage": 0.9}, "only 90% of a run covered"),
    ],
)
def test_what_is_unknown_of_one_run_withholds_the_verdict(
    change: dict[str, Any], reason: str
) -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE})
    runs[-1] = dataclasses.replace(runs[-1], **change)
    result = compare(runs, "dense").results[0]
    assert (result.verdict, result.reason) == ("not resolved", reason)
    assert result.time_verdict == "less"


def test_energy_and_time_may_differ_in_their_verdicts() -> None:
    runs = [
        dataclasses.replace(run, duration_s=10 + n % 5 + (run.variant == "moe") * (5 + n % 2))
        for n, run in enumerate(runs_of({"dense": DENSE, "moe": MOE}))
    ]
    result = compare(runs, "dense").results[0]
    assert (result.verdict, result.time_verdict) == ("less", "more")


@given(
    st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE, POSITIVE), min_size=2, max_size=8),
    st.booleans(),
)
@settings(deadline=None)
def test_a_verdict_and_an_adjusted_interval_without_1_come_together(
    repeats: list[tuple[float, float, float, float]], paired: bool
) -> None:
    energies = dict(zip("abcd", zip(*repeats, strict=True), strict=True))
    for result in compare(runs_of(energies, paired=paired), "a").results:
        if math.isnan(result.low):
            assert result.verdict == "not resolved"
            continue
        assert result.low_adjusted <= result.low <= result.ratio <= result.high
        excluded = {"less": result.high_adjusted < 1, "more": result.low_adjusted > 1}
        assert excluded.get(result.verdict, not any(excluded.values()))
        assert bool(result.reason) == (result.verdict == "not resolved")
        assert result.mde > 0


@given(st.floats(0.01, 100), st.floats(0.01, 100))
@settings(deadline=None)
def test_the_units_of_energy_and_work_do_not_matter(joule: float, token: float) -> None:
    scaled = runs_of(
        {"dense": [e * joule for e in DENSE], "moe": [e * joule for e in MOE]},
        amounts={"token": token},
    )
    result = compare(scaled, "dense").results[0]
    expected = compare(runs_of({"dense": DENSE, "moe": MOE}), "dense").results[0]
    assert (result.ratio, result.low, result.high, result.mde) == pytest.approx(
        (expected.ratio, expected.low, expected.high, expected.mde)
    )


def test_unlike_devices_are_refused_unless_told() -> None:
    runs = runs_of({"dense": DENSE}) + runs_of({"moe": MOE}, devices=("A100",))
    with pytest.raises(ComparisonError, match=r"dense-4 on H200; moe-4 on A100"):
        compare(runs, "dense")
    comparison = compare(runs, "dense", across_devices=True)
    assert comparison.results[0].verdict == "less"
    assert "systematic errors" in comparison.notes[-1]


def test_more_of_the_same_device_is_another_machine() -> None:
    runs = runs_of({"dense": DENSE}) + runs_of({"moe": MOE}, devices=("H200", "H200"))
    with pytest.raises(ComparisonError, match="unlike devices"):
        compare(runs, "dense")


def test_unknown_devices_are_said() -> None:
    comparison = compare(runs_of({"dense": DENSE, "moe": MOE}, devices=()), "dense")
    assert any("Devices unknown for 10 of 10 runs" in note for note in comparison.notes)


def test_without_tokens_the_possible_comparison_is_named() -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE}, amounts={"step": 40.0, "token": math.nan})
    with pytest.raises(ComparisonError, match=r"10 of 10 runs have no tokens") as caught:
        compare(runs, "dense", per="token")
    assert "--per step" in caught.value.hint
    assert compare(runs, "dense", per="step").results[0].verdict == "less"


@pytest.mark.parametrize(
    ("runs", "baseline", "per", "says"),
    [
        (runs_of({"dense": DENSE, "moe": MOE}), "dens", "token", "use --baseline 'dense'"),
        (runs_of({"dense": DENSE, "moe": MOE}), "", "token", "'dense' or 'moe'"),
        (runs_of({"dense": DENSE}), "dense", "token", "at least one other variant"),
        ([], "dense", "token", "give some runs"),
        (runs_of({"dense": DENSE, "moe": MOE}), "dense", "joke", "Unknown unit 'joke'"),
        (runs_of({"a": DENSE, "b": MOE}, amounts={}), "a", "token", "share no other unit"),
        (runs_of({"a": DENSE, "b": MOE}) * 2, "a", "token", "'a-0' is given twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    runs: list[RunFigures], baseline: str, per: str, says: str
) -> None:
    with pytest.raises(ComparisonError, match=says):
        compare(runs, baseline, per)


def test_an_unbalanced_order_is_said_and_a_balanced_one_is_not() -> None:
    def placed(order: str) -> Comparison:
        energies = {"A": DENSE[:2], "B": MOE[:2]}
        places = {name: iter([n for n, x in enumerate(order) if x == name]) for name in "AB"}
        runs = [
            dataclasses.replace(run, position=next(places[run.variant]))
            for run in runs_of(energies)
        ]
        return compare(runs, "A")

    assert "balanced order (mean position: A 0.5, B 2.5)" in placed("AABB").notes[-1]
    assert placed("ABBA").notes == ()


def test_the_json_has_the_published_keys_and_nothing_that_json_lacks() -> None:
    shown = compare(runs_of({"dense": [100], "moe": [80], "window": [math.nan]}), "dense").to_json()
    json.dumps(shown, allow_nan=False)
    assert (shown["per"], shown["baseline"]) == ("token", "dense")
    assert [result["variant"] for result in shown["results"]] == ["moe", "window"]
    assert " ".join(shown["results"][0]).startswith(
        "variant n mean ratio low high mde verdict reason trust"
    )
    assert shown["results"][0]["low"] is None
    assert shown["results"][1]["ratio"] is None
    assert shown["results"][0]["trust"] == MEASURED


def test_a_message_calls_a_run_by_its_folder() -> None:
    runs = [dataclasses.replace(run, label=f"folder-{run.run_id}") for run in runs_of({"a": [1]})]
    with pytest.raises(ComparisonError, match="'folder-a-0' is given twice"):
        compare(runs * 2, "a")


def test_tokens_of_unlike_tokenizers_are_no_unit() -> None:
    runs = runs_of({"dense": DENSE}, tokenizer="bytes", amounts={"token": 9.0, "step": 1.0})
    runs += runs_of({"moe": MOE}, tokenizer="gpt2", amounts={"token": 9.0, "step": 1.0})
    with pytest.raises(ComparisonError, match=r"dense-4 by bytes; moe-4 by gpt2") as caught:
        compare(runs, "dense")
    assert "--per sample or step" in caught.value.hint
    assert compare(runs, "dense", per="step").results[0].verdict == "less"


def test_tokens_unknown_in_one_run_are_unknown_in_the_comparison() -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE}, amounts={"token": 9.0, "step": 1.0})
    runs[3] = dataclasses.replace(runs[3], amounts={"step": 1.0})
    with pytest.raises(ComparisonError, match=r"1 of 10 runs have no tokens: dense-3"):
        compare(runs, "dense")


@pytest.mark.parametrize("tokens", [0.0, -1.0, math.nan, math.inf])
def test_an_amount_that_is_none_is_refused(tokens: float) -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE}, amounts={"token": tokens})
    with pytest.raises(ComparisonError, match="have no tokens"):
        compare(runs, "dense")


@pytest.mark.parametrize("per", ["flop", "active_flop"])
def test_energy_is_counted_per_any_amount_that_the_runs_have(per: str) -> None:
    runs = runs_of({"dense": DENSE}, amounts={per: 2e12})
    runs += runs_of({"moe": MOE}, amounts={per: 1e12})
    plain = compare(runs_of({"dense": DENSE, "moe": MOE}), "dense").results[0]
    assert compare(runs, "dense", per=per).results[0].ratio == pytest.approx(2 * plain.ratio)


def test_other_boards_of_one_model_leave_the_sensors_error_in_the_ratio() -> None:
    runs = runs_of({"dense": DENSE}, boards=("GPU-1",)) + runs_of({"moe": MOE}, boards=("GPU-2",))
    comparison = compare(runs, "dense")
    assert comparison.ratios_systematic
    assert "several boards" in comparison.notes[-1]
    same = compare(runs_of({"dense": DENSE, "moe": MOE}, boards=("GPU-1",)), "dense")
    assert not same.ratios_systematic
    assert (same.systematic_low, same.systematic_high) == (0.05, 0.08)


def test_a_verdict_across_boards_lies_beyond_what_their_sensors_can_make() -> None:
    # Two sensors that are 5 % off, one up and one down, show one energy at a ratio of 0.905.
    def found(share: float, board: str) -> Result:
        energies = [share * joules * (1 + n / 1000) for n, joules in enumerate(DENSE)]
        runs = runs_of({"dense": DENSE}, boards=("GPU-1",))
        runs += runs_of({"moe": energies}, boards=(board,))
        return compare(runs, "dense").results[0]

    assert found(0.93, "GPU-1").verdict == "less"
    other = found(0.93, "GPU-2")
    assert (other.verdict, other.reason) == ("not resolved", "within the sensors' error")
    assert other.high_adjusted < 1
    assert other.time_verdict == found(0.93, "GPU-1").time_verdict
    assert found(0.89, "GPU-2").verdict == "less"
    assert found(1.2, "GPU-2").verdict == "more"


def test_a_model_has_no_known_systematic_error() -> None:
    runs = runs_of({"dense": DENSE, "moe": MOE}, trust={"modelled": 1.0})
    assert math.isnan(compare(runs, "dense").systematic_low)


def test_energy_above_idle_stands_beside_and_never_decides() -> None:
    # Both use 100 J; the slow one half of it at rest: above idle it looks twice as good.
    noise = np.array([0.99, 1.01, 1.0, 1.02, 0.98])
    runs = [
        dataclasses.replace(run, duration_s=2.0 if run.variant == "slow" else 1.0)
        for run in runs_of({"fast": 100 * noise, "slow": 100 * noise[::-1]}, idle_power_w=25.0)
    ]
    result = compare(runs, "fast").results[0]
    assert result.ratio == pytest.approx(1.0)
    assert result.verdict == "not resolved"
    assert result.above_idle_ratio == pytest.approx(50 / 75, rel=0.01)
    assert result.above_idle_high < 1
    unknown = compare(runs_of({"fast": DENSE, "slow": MOE}), "fast")
    assert math.isnan(unknown.results[0].above_idle_ratio)
    assert math.isnan(unknown.baseline_above_idle_mean)
    assert unknown.results[0].verdict == "less"


def test_idle_power_above_the_energy_is_unknown_and_no_error() -> None:
    runs = runs_of({"fast": DENSE, "slow": MOE}, idle_power_w=1e6)
    assert math.isnan(compare(runs, "fast").results[0].above_idle_ratio)


def blocks(count: int, energy_j: float, rng: np.random.Generator) -> tuple[Block, ...]:
    noise = 1 + 0.02 * rng.standard_normal(count)
    return tuple(Block(energy_j * x, 10.0 * x, {"token": 1000.0}) for x in noise.tolist())


def test_one_run_each_has_the_interval_of_its_blocks_and_no_verdict() -> None:
    rng = np.random.default_rng(1)
    runs = [
        dataclasses.replace(run, blocks=blocks(30, run.energy_j, rng))
        for run in runs_of({"dense": [100], "moe": [80]})
    ]
    comparison = compare(runs, "dense")
    result = comparison.results[0]
    assert result.low < 0.8 < result.high < 0.83
    assert (result.verdict, result.reason) == ("not resolved", "one run each")
    assert result.method == result.time_method == "blocks inside one run"
    assert math.isnan(result.mde)
    assert "another seed or another day may lie outside" in comparison.notes[0]


def test_too_few_blocks_are_no_interval() -> None:
    rng = np.random.default_rng(1)
    runs = [
        dataclasses.replace(run, blocks=blocks(9, run.energy_j, rng))
        for run in runs_of({"dense": [100], "moe": [80]})
    ]
    comparison = compare(runs, "dense")
    assert math.isnan(comparison.results[0].low)
    assert "10 blocks of 10 s" in comparison.notes[0]


def test_a_drift_is_fitted_and_said() -> None:
    rng = np.random.default_rng(2)
    runs = []
    for pair in range(6):
        for place, variant in enumerate("AB" if pair % 2 else "BA"):
            energy_j = 100 * 1.03**place * math.exp(rng.normal(0, 0.002)) * (1 + pair)
            (run,) = runs_of({variant: [energy_j]})
            runs.append(
                dataclasses.replace(
                    run, run_id=f"{variant}{pair}", pair=f"seed {pair}", position=place
                )
            )
    comparison = compare(runs, "A")
    effect = comparison.position_effect
    assert effect.low < 0.03 < effect.high
    assert effect.per_place == pytest.approx(0.03, abs=0.005)
    assert "The machine drifted: energy changed by +" in comparison.notes[-1]
    result = comparison.results[0]
    assert result.method == "paired t, position removed"
    assert result.ratio == pytest.approx(1, abs=0.005)
    assert result.high - result.low < 0.01


def test_several_variants_have_adjusted_and_plain_intervals() -> None:
    comparison = compare(runs_of({"dense": DENSE, "moe": MOE, "window": DENSE[::-1]}), "dense")
    first, second = comparison.results
    assert first.low_adjusted < first.low < first.high < first.high_adjusted < 1
    assert (first.verdict, second.verdict) == ("less", "not resolved")
    assert "Holm" in comparison.notes[0]
