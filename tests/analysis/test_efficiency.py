"""Laws of the lens on why: factors multiply back, and what is unknown stays unknown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.analysis.efficiency import (
    Work,
    decompose,
    efficiency,
    flop_per_j,
    idle_share,
    mfu,
)

POSITIVE = st.floats(1e-3, 1e18)
WORK = st.builds(
    Work, st.just("run"), st.just("moe"), POSITIVE, POSITIVE, POSITIVE, POSITIVE, POSITIVE
)


@given(st.lists(WORK, min_size=1, max_size=5), st.lists(WORK, min_size=1, max_size=5))
def test_the_factors_multiply_back_to_the_energy_ratio(
    variant: list[Work], baseline: list[Work]
) -> None:
    found = decompose(variant, baseline)
    assert found.flops_ratio * found.j_per_flop_ratio == pytest.approx(
        found.energy_ratio, rel=1e-12
    )
    assert found.power_ratio * found.time_per_flop_ratio == pytest.approx(
        found.j_per_flop_ratio, rel=1e-9
    )


def test_a_variant_that_only_does_less_saves_by_its_flops_alone() -> None:
    dense = Work("d", "dense", 100.0, 10.0, 50.0, flops=1e3)
    thin = Work("t", "thin", 50.0, 5.0, 50.0, flops=5e2)
    found = decompose([thin], [dense])
    assert (found.energy_ratio, found.flops_ratio, found.j_per_flop_ratio) == (0.5, 0.5, 1.0)


def test_a_faster_kernel_saves_by_doing_the_same_better() -> None:
    eager = Work("e", "eager", 100.0, 10.0, 50.0, flops=1e3)
    fused = Work("f", "fused", 70.0, 5.0, 50.0, flops=1e3)
    found = decompose([fused], [eager])
    assert found.flops_ratio == 1.0
    assert found.j_per_flop_ratio == pytest.approx(0.7)
    assert found.power_ratio == pytest.approx(1.4)
    assert found.time_per_flop_ratio == pytest.approx(0.5)


def test_one_run_without_flops_leaves_the_energy_ratio_and_nothing_else() -> None:
    runs = [Work("a", "moe", 80.0, 8.0, 1.0, flops=1.0), Work("b", "moe", 80.0, 8.0, 1.0)]
    found = decompose(runs, [Work("c", "dense", 100.0, 10.0, 1.0, flops=1.0)])
    assert found.energy_ratio == pytest.approx(0.8)
    assert math.isnan(found.flops_ratio)
    assert math.isnan(found.j_per_flop_ratio)


@pytest.mark.parametrize("unknown", [math.nan, 0.0, -1.0, math.inf])
def test_what_is_unknown_is_never_a_zero(unknown: float) -> None:
    for found in (
        mfu(unknown, 1.0, 1.0),
        mfu(1.0, unknown, 1.0),
        mfu(1.0, 1.0, unknown),
        flop_per_j(unknown, 1.0),
        flop_per_j(1.0, unknown),
        idle_share(unknown, 1.0, 1.0),
        idle_share(1.0, 1.0, unknown),
    ):
        assert math.isnan(found)


def test_mfu_is_of_all_devices_together() -> None:
    run = Work("a", "dense", 1.0, 2.0, 1.0, flops=4e15, peak_flop_per_s=8 * 1e15)
    assert efficiency([run]).mfu == 0.25


def test_phases_are_shares_of_the_energy_of_all_runs_together() -> None:
    runs = [
        Work("a", "moe", 1.0, 1.0, 1.0, phases_j={"train_step": 60.0, "validation": 20.0}),
        Work("b", "moe", 1.0, 1.0, 1.0, phases_j={"train_step": 20.0}),
    ]
    assert efficiency(runs).phase_share == {"train_step": 0.8, "validation": 0.2}


def test_a_phase_that_nobody_metered_is_unknown_and_not_free() -> None:
    run = Work("a", "moe", 1.0, 1.0, 1.0, phases_j={"setup": math.nan, "train_step": 4.0})
    share = efficiency([run]).phase_share
    assert math.isnan(share["setup"])
    assert share["train_step"] == 1.0
