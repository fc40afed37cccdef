"""Laws of the lens on whole runs: facts come from the record, and what it lacks is unknown."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

from greenai.lens import lens_of, lens_run, losses_of, peak_of, sized_runs
from greenai.record.types import NOTE, STEP_END, STOP, VALUE, Attempt, Record
from greenai.run import Run

S = 1000 * MS
STEPS = 20
FACTS = {
    "sequence": 512,
    "attention": "sdpa",
    "feed_forward": "moe",
    "flops_per_token_useful": 1e9,
    "active_parameters": 1_000_000,
    "total_parameters": 4_000_000,
    "idle_power_w": 25.0,
    "seed": 3,
    "router_load": {"shares": [[0.75, 0.25]], "balance_loss": 1.2},
}


def an_attempt(model: str = "NVIDIA H200", extra: tuple[Any, ...] = (), gpus: int = 1) -> Attempt:
    readings = [
        SimulatedCounter(lambda t: 100.0 * t, refresh_ms=20).readings(
            15,
            a_channel(
                refresh_ns=25 * MS, model=model, device=f"gpu{number}", device_key=f"GPU-{number}"
            ),
        )
        for number in range(gpus)
    ]
    t_ns = START_NS + S // 2
    rows: list[Any] = [(t_ns, NOTE, "train_start", 0, 0.0)]
    for index in range(STEPS):
        t_ns += S // 2
        rows.append((t_ns, VALUE, "tokens", index, 1000.0))
        rows.append((t_ns, VALUE, "loss", index, 5.0 - index / 10))
        rows.append((t_ns, STEP_END, "", index, 1.0))
    made = attempt_of(readings, marks_of([*rows, *extra, (t_ns, STOP, "", 0, 0.0)]))
    return dataclasses.replace(made, manifest={"world_size": 1, "rank": 0})


def a_run(attempt: Attempt, variant: str = "moe", **config: Any) -> Run:
    facts = {"run_id": f"{variant}-0", "variant": variant, "settings": {}, "config": config}
    return Run(Record(Path("runs/moe"), facts, (attempt,)))


def test_a_run_is_seen_through_its_record_and_its_facts() -> None:
    seen = lens_run(a_run(an_attempt(), **FACTS))
    assert seen.work.flops == pytest.approx(1e9 * 1000 * STEPS)
    assert seen.work.peak_flop_per_s == 989.5e12
    assert seen.work.energy_j == pytest.approx(100 * 0.5 * STEPS, rel=0.01)
    assert (seen.sequence, seen.attention, seen.feed_forward) == (512, "sdpa", "moe")
    assert (seen.active_parameters, seen.total_parameters) == (1e6, 4e6)
    assert seen.loss == pytest.approx((3.2 + 3.1) / 2)
    assert seen.router is not None
    assert seen.router.imbalance == 1.5
    assert seen.facts == {"seed": 3}


def test_a_run_without_facts_knows_only_its_energy_and_its_loss() -> None:
    seen = lens_run(a_run(an_attempt()))
    assert seen.work.energy_j > 0
    assert math.isnan(seen.work.flops)
    assert math.isnan(seen.work.idle_power_w)
    assert math.isnan(seen.active_parameters)
    assert (seen.router, seen.sequence, seen.attention) == (None, None, "")


@pytest.mark.parametrize("wrong", ["many", None, True, ["x"], {"a": 1}, math.inf])
def test_a_fact_of_the_wrong_kind_is_unknown(wrong: Any) -> None:
    seen = lens_run(a_run(an_attempt(), **dict.fromkeys(FACTS, wrong)))
    assert math.isnan(seen.work.flops)
    assert math.isnan(seen.active_parameters)
    assert seen.sequence is None
    assert seen.router is None


def test_marks_of_the_routers_go_before_what_the_config_says() -> None:
    t_ns = START_NS + 5 * S
    extra = ((t_ns, VALUE, "router_load/0", 0, 0.5), (t_ns, VALUE, "router_load/0", 1, 0.5))
    seen = lens_run(a_run(an_attempt(extra=extra), **FACTS))
    assert seen.router is not None
    assert seen.router.share.tolist() == [[0.5, 0.5]]


def test_the_rates_of_all_gpus_add_up_and_one_unknown_makes_all_unknown() -> None:
    assert peak_of(a_run(an_attempt(gpus=4))) == 4 * 989.5e12
    assert math.isnan(peak_of(a_run(an_attempt(model="Some Card"))))
    assert peak_of(a_run(an_attempt(), precision="32-true")) == 67e12


def test_a_comparison_says_what_its_lens_lacks() -> None:
    runs = [a_run(an_attempt()), a_run(an_attempt(), "dense")]
    assert any("FLOPs are unknown" in note for note in lens_of(runs, baseline="dense").notes)
    runs = [a_run(an_attempt("Card 9"), **FACTS), a_run(an_attempt("Card 9"), "dense", **FACTS)]
    assert any("Card 9" in note for note in lens_of(runs, baseline="dense").notes)
    runs = [a_run(an_attempt(), **FACTS), a_run(an_attempt(), "dense", **FACTS)]
    notes = lens_of(runs, baseline="dense").notes
    assert notes == (
        "MFU is a share of the dense 16-bit rate: the runs do not say their precision.",
    )


def test_a_sized_run_has_its_whole_energy_and_all_its_tokens() -> None:
    run = a_run(an_attempt(), **FACTS)
    (sized,) = sized_runs([run])
    assert sized.energy_j == run.energy()
    assert (sized.tokens, sized.active_parameters) == (1000 * STEPS, 1e6)
    assert sized.measured == 1.0


def test_losses_of_two_kinds_are_never_mixed() -> None:
    held_out = a_run(an_attempt(), held_out_loss_nats=2.5)
    assert losses_of([held_out]) == ([2.5], "held-out")
    losses, kind = losses_of([held_out, a_run(an_attempt(), "dense")])
    assert kind == "training"
    assert losses == [pytest.approx(3.15)] * 2


def test_the_useful_flops_of_the_formula_go_before_those_of_the_steps() -> None:
    t_ns = START_NS + S
    extra = tuple((t_ns + index, VALUE, "flops", index, 5e12) for index in range(STEPS))
    assert lens_run(a_run(an_attempt(extra=extra))).work.flops == pytest.approx(5e12 * STEPS)
    assert lens_run(a_run(an_attempt(extra=extra), **FACTS)).work.flops == pytest.approx(2e13)


def test_energy_until_a_loss_is_seen_through_its_tokens() -> None:
    runs = [a_run(an_attempt(), **FACTS), a_run(an_attempt(), "dense", **FACTS)]
    assert lens_of(runs, baseline="dense", per="loss:2.5").per == "token"
