from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from greenai.workloads.architecture import parameters_active
from greenai.workloads.data import load_text
from greenai.workloads.design import FULL, QUICK, Size, notices, run_facts, variants_of
from greenai.workloads.schedule import Turn


@pytest.mark.parametrize("size", [QUICK, FULL])
def test_each_variant_differs_from_dense_in_one_choice(size: Size) -> None:
    variants = variants_of(size.model)
    dense = asdict(variants["dense"])
    changed = {
        name: {key: value for key, value in asdict(config).items() if value != dense[key]}
        for name, config in variants.items()
    }
    assert changed == {
        "dense": {},
        "moe": {"feed_forward": "moe"},
        "sliding_window": {"attention": "sliding_window"},
    }


@pytest.mark.parametrize("size", [QUICK, FULL])
def test_variants_are_matched_on_active_parameters_within_a_hundredth(size: Size) -> None:
    active = [parameters_active(config) for config in variants_of(size.model).values()]
    assert max(active) / min(active) < 1.01


def test_the_facts_of_a_run_are_json_and_tell_seed_and_place() -> None:
    text = load_text(max_bytes=10_000)
    facts = run_facts(Turn("dense", repeat=3, position=1), QUICK.model, QUICK, text)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["repeat"], facts["position"], facts["seed"]) == (3, 1, 3)
    assert facts["text_sha256"] == text.sha256


def said(*, done: int = 6, measured_share: float = 1.0) -> str:
    variants = variants_of(QUICK.model)
    sentences = notices(
        variants, QUICK, planned=6, done=done, limit_s=240, measured_share=measured_share
    )
    return " ".join(sentences)


def test_a_cut_plan_is_said_with_what_it_costs() -> None:
    assert "240 s allowed 4 of 6 repeats" in said(done=4)
    assert "not balanced" in said(done=4)


def test_a_whole_plan_is_not_said_to_be_cut() -> None:
    assert "allowed" not in said()
    assert "balanced" not in said()
    assert "untuned" in said()


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
