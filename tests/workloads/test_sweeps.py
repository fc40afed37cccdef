from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from greenai.errors import OrderError
from greenai.workloads import sweeps
from greenai.workloads.data import load_text
from greenai.workloads.design import QUICK, variants_of
from greenai.workloads.facts import Experiment
from greenai.workloads.resting import Look
from greenai.workloads.sweeps import at_length, best_rates, rates_at_the_edge, sweep_rates
from greenai.workloads.training import Trained

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Text


def experiment(text: Text, *names: str) -> Experiment:
    variants = variants_of(QUICK.model, names)
    return Experiment(
        size=QUICK,
        variants=variants,
        kernels=dict.fromkeys(variants, "flash"),
        learning_rates=dict.fromkeys(variants, 2e-3),
        tuned=False,
        match="active-params",
        text=text,
        warmup_s=0.0,
        seconds=1.0,
        idle=Look(),
    )


def test_along_a_sweep_only_the_length_changes_and_not_the_tokens_of_a_batch(text: Text) -> None:
    base = experiment(text, "dense", "gqa", "moe")
    for sequence, batch in ((256, 8), (1024, 2), (4096, 1)):
        longer = at_length(base, sequence)
        assert list(longer.variants) == ["dense", "gqa"]
        assert longer.size.batch == batch
        for name, config in longer.variants.items():
            assert config == replace(base.variants[name], sequence=sequence)
            assert longer.learning_rates[name] == 2e-3


def test_an_experiment_on_experts_sweeps_the_attention_variants(text: Text) -> None:
    assert list(at_length(experiment(text, "dense", "moe"), 256).variants) == [
        "dense",
        "sliding_window",
        "gqa",
        "linear",
    ]


def test_a_length_that_the_text_does_not_fill_is_refused() -> None:
    with pytest.raises(OrderError, match="too small"):
        at_length(experiment(load_text(max_bytes=40_000), "dense", "linear"), 20_000)


def test_every_variant_is_swept_alike_and_apart_from_what_is_compared(
    text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[ModelConfig, float, int, int]] = []

    def train(config: ModelConfig, _text: Text, **given: Any) -> Trained:
        asked.append((config, given["learning_rate"], given["seed"], given["steps"]))
        assert "callbacks" not in given
        best = 1e-3 if config.feed_forward == "dense" else 3e-3
        return Trained(2 + abs(math.log(given["learning_rate"] / best)), None)

    monkeypatch.setattr(sweeps, "train", train)
    variants = variants_of(QUICK.model, ["dense", "moe"])
    losses = sweep_rates(variants, QUICK, text, progress=False)
    assert [rate for _, rate, _, _ in asked] == pytest.approx([3e-4, 1e-3, 3e-3] * 2)
    assert {(seed, steps) for _, _, seed, steps in asked} == {(1_000_003, QUICK.rate_steps)}
    assert best_rates(losses, 1.0) == pytest.approx({"dense": 1e-3, "moe": 3e-3})
    assert rates_at_the_edge(losses) == ["moe"]


def test_a_rate_that_diverged_is_never_the_best() -> None:
    losses = {"dense": {1e-3: 2.5, 3e-3: math.nan}, "moe": {1e-3: math.inf}}
    assert best_rates(losses, 5e-4) == {"dense": 1e-3, "moe": 5e-4}
