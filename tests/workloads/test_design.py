from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from greenai.errors import OrderError
from greenai.workloads.data import load_text
from greenai.workloads.design import BASES, CHOICES, QUICK, SIZES, Size, mismatch, variants_of
from greenai.workloads.facts import Experiment, device_name, run_facts
from greenai.workloads.notices import notices
from greenai.workloads.resting import Look
from greenai.workloads.schedule import Turn

if TYPE_CHECKING:
    from pathlib import Path

BOTH = [*CHOICES, "moe+linear", "moe_shared+gqa"]


@pytest.mark.parametrize("size", SIZES.values())
def test_each_variant_differs_from_dense_in_one_choice_and_the_width_that_matches_it(
    size: Size,
) -> None:
    variants = variants_of(size.model, list(CHOICES))
    dense = asdict(size.model)
    changed = {
        name: {key: value for key, value in asdict(config).items() if value != dense[key]}
        for name, config in variants.items()
    }
    for name, fields in changed.items():
        fields.pop("feed_forward_width", None)
        assert fields == CHOICES[name]
    assert variants["dense"] == size.model


@pytest.mark.parametrize("size", SIZES.values())
@pytest.mark.parametrize("match", BASES)
def test_variants_are_matched_on_the_basis_within_a_hundredth(size: Size, match: str) -> None:
    apart = mismatch(variants_of(size.model, BOTH, match), size.model, match)
    assert max(map(abs, apart.values())) < 0.01


@pytest.mark.parametrize("match", BASES)
def test_no_other_width_comes_nearer_to_the_basis(match: str) -> None:
    for name, config in variants_of(QUICK.model, BOTH, match).items():
        step = 8 * config.experts_of_a_token
        found = abs(mismatch({name: config}, QUICK.model, match)[name])
        for width in (config.feed_forward_width - step, config.feed_forward_width + step):
            if width > 0:
                other = {name: replace(config, feed_forward_width=width)}
                assert found <= abs(mismatch(other, QUICK.model, match)[name])


def test_quick_never_compiles() -> None:
    assert not QUICK.model.compiled
    assert all(size.model.compiled for size in SIZES.values() if size is not QUICK)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["dense", "flash"], "active-params"),
        (["dense", "moe+moe_shared"], "active-params"),
        (["dense", "gqa+linear"], "active-params"),
        (["dense", "dense"], "active-params"),
        ([], "active-params"),
        (["dense", "moe"], "loss"),
    ],
)
def test_a_variant_or_a_basis_that_is_none_is_refused_with_a_hint(
    names: list[str], match: str
) -> None:
    with pytest.raises(OrderError) as refusal:
        variants_of(QUICK.model, names, match)
    assert refusal.value.hint


def test_a_basis_that_no_width_meets_is_refused() -> None:
    narrow = replace(QUICK.model, feed_forward_width=8)
    with pytest.raises(OrderError, match="No width matches moe"):
        variants_of(narrow, ["dense", "moe"], "total-params")


def experiment(**changes: object) -> Experiment:
    variants = variants_of(QUICK.model)
    found = Experiment(
        size=QUICK,
        variants=variants,
        kernels=dict.fromkeys(variants, "flash"),
        learning_rates=dict.fromkeys(variants, 1e-3),
        tuned=False,
        match="active-params",
        text=load_text(max_bytes=10_000),
        warmup_s=1.5,
        seconds=6.0,
        idle=Look(power_w=71.5, devices=("gpu0",), gpus=1),
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # as the test gives them


def test_the_facts_of_a_run_are_json_and_tell_what_a_comparison_asks() -> None:
    now = Look(power_w=72.0, temperature_c=41.0, power_limit_w=700.0, clock_hz=1.2e9, gpus=1)
    facts = run_facts(Turn("moe", repeat=3, position=1), experiment(), now, 4.0)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["repeat"], facts["position"], facts["seed"]) == (3, 1, 3)
    assert (facts["idle_power_w"], facts["idle_devices"]) == (71.5, ["gpu0"])
    assert (facts["temperature_c"], facts["power_limit_w"], facts["clock_hz"]) == (41, 700, 1.2e9)
    assert facts["flops_per_token_executed"] > facts["flops_per_token_useful"]
    assert facts["total_parameters"] > facts["active_parameters"]
    assert (facts["kernel"], facts["match_basis"], facts["tuned"]) == (
        "flash",
        "active-params",
        False,
    )
    assert (facts["feed_forward"], facts["attention"], facts["sequence"]) == ("moe", "sdpa", 512)


def test_a_machine_that_is_not_measured_has_no_idle_power_and_not_zero() -> None:
    facts = run_facts(Turn("dense", 0, 0), experiment(idle=Look()), Look(), None)
    names = ("idle_power_w", "temperature_c", "power_limit_w", "clock_hz", "cool_down_s")
    assert [facts[name] for name in names] == [None] * 5


def test_a_device_has_a_name_also_where_the_kernel_lists_none(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : Some CPU @ 2 GHz\n")
    assert device_name(str(tmp_path / "cpuinfo")) == "Some CPU @ 2 GHz"
    assert device_name(str(tmp_path / "absent"))


def said(found: Experiment | None = None, *, done: int = 6, measured_share: float = 1.0) -> str:
    sentences = notices(
        found or experiment(), planned=6, done=done, limit_s=240, measured_share=measured_share
    )
    return " ".join(sentences)


def test_a_cut_plan_is_said_with_what_it_costs() -> None:
    assert "240 s allowed 4 of 6 repeats" in said(done=4)
    assert "not balanced" in said(done=4)
    assert "each place equally often, but not each predecessor" in said(done=3)


def test_a_whole_plan_is_not_said_to_be_cut() -> None:
    assert "allowed" not in said()
    assert "balanced" not in said()


def test_learning_rates_are_said_to_be_untuned_unless_all_were_swept() -> None:
    assert "untuned: 0.001 for all" in said()
    rates = {"dense": 1e-3, "moe": 3e-3, "sliding_window": 1e-3}
    tuned = said(experiment(tuned=True, learning_rates=rates))
    assert "untuned" not in tuned
    assert "moe 0.003" in tuned
    assert "lie beyond" not in tuned
    losses = {"moe": {1e-3: 2.5, 3e-3: 2.0}}
    edge = said(experiment(tuned=True, learning_rates=rates, rate_losses_nats=losses))
    assert "the greatest for moe: a better one may lie beyond" in edge


def test_the_basis_is_said_with_what_is_left_of_the_difference() -> None:
    assert "matched on active parameters" in said()
    assert "moe +0.4%, sliding_window +0.0%" in said()


def test_a_comparison_of_kernels_is_said_to_be_one() -> None:
    kernels = {"dense": "flash", "moe": "flash", "sliding_window": "eager"}
    assert "sliding_window (eager) runs on no fused kernel" in said(experiment(kernels=kernels))
    assert "kernel" not in said().replace("other kernels", "")


@pytest.mark.parametrize(
    ("measured_share", "sentence"),
    [
        (0.0, "time multiplied by a model"),
        (0.91, "91% of the energy is measured"),
    ],
)
def test_modelled_energy_is_said_to_be_modelled(measured_share: float, sentence: str) -> None:
    assert sentence in said(measured_share=measured_share)
    assert sentence not in said()
