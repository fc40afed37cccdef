"""Laws of what a comparison takes of a run: its work after the warm-up, its facts, no guess."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

from greenai.analysis.compare import compare
from greenai.record.types import NOTE, STEP_END, STOP, VALUE, Record
from greenai.run import Run

if TYPE_CHECKING:
    from greenai.analysis.comparable import RunFigures
    from greenai.record.types import Attempt

S = 1000 * MS
STEP_S, WATTS = 0.5, 100.0


def an_attempt(steps: int, warmup_s: float = 0.0, first: int = 0) -> Attempt:
    """Steps of 0.5 s at 100 W; each has 100 tokens, and the loss falls by 1 from 100."""
    t_ns = START_NS + S // 2
    rows: list[tuple[Any, ...]] = [(t_ns, NOTE, "train_start", 0, 0.0)]
    for index in range(first, first + steps):
        t_ns += int(STEP_S * S)
        rows.append((t_ns, VALUE, "tokens", index, 100.0))
        rows.append((t_ns, VALUE, "loss", index, 100.0 - index))
        rows.append((t_ns, STEP_END, "", index, 1.0))
    rows.append((t_ns, STOP, "", 0, 0.0))
    counter = SimulatedCounter(lambda t: WATTS * t, refresh_ms=20)
    readings = counter.readings(steps * STEP_S + 2, a_channel(refresh_ns=25 * MS))
    manifest = {"world_size": 1, "warmup_s": warmup_s}
    return dataclasses.replace(attempt_of([readings], marks_of(rows)), manifest=manifest)


def figures_of(*attempts: Attempt, name: str = "r", **facts: Any) -> RunFigures:
    known = {"run_id": f"id of {name}", "variant": "dense", "settings": {}, "config": facts}
    return Run(Record(Path("runs") / name, known, attempts)).figures()


def figures(steps: int = 20, *, warmup_s: float = 0.0, name: str = "r", **facts: Any) -> RunFigures:
    return figures_of(an_attempt(steps, warmup_s), name=name, **facts)


def test_steps_that_a_restart_rolled_back_count_nowhere() -> None:
    again = dataclasses.replace(an_attempt(10, first=8), attempt=1, launch_id="later")
    found = figures_of(an_attempt(12), again)
    assert found.amounts["step"] == 18
    assert found.curve is not None
    assert np.all(np.diff(found.curve.loss) < 0)


def test_the_facts_of_the_config_are_taken() -> None:
    found = figures(
        seed=7, position=2, idle_power_w=40, tokenizer="bytes", flops_per_token_useful=2e6
    )
    assert (found.pair, found.seed, found.position) == ("seed 7", "seed 7", 2)
    assert (found.tokenizer, found.name) == ("bytes", "r")
    assert found.amounts == {"token": 2000, "step": 20, "active_flop": 4e9}
    assert found.above_idle_j == pytest.approx(60 * 10, rel=0.02)
    assert len(found.boards) == 1


def test_a_repeat_goes_before_a_seed_and_is_not_mistaken_for_one() -> None:
    assert figures(repeat=7, seed=1).pair == "repeat 7"
    assert figures(repeat=7, seed=1).seed == "seed 1"
    assert figures(repeat=7).seed == "repeat 7"
    assert figures().pair is None


@pytest.mark.parametrize("value", [-1, 0, "40", True, math.nan, math.inf, None, [40]])
def test_a_fact_that_is_no_positive_number_is_unknown(value: Any) -> None:
    found = figures(idle_power_w=value, flops_per_token_active=value)
    assert math.isnan(found.above_idle_j)
    assert "active_flop" not in found.amounts


def test_the_way_to_a_loss_counts_the_warm_up_and_the_work_does_not() -> None:
    found = figures(40, warmup_s=5.0)
    assert found.amounts["step"] == 30
    assert found.energy_j == pytest.approx(30 * 50, rel=0.02)
    assert found.curve is not None
    assert found.curve.loss[0] == pytest.approx(98)
    assert found.curve.energy_j[0] == pytest.approx(3 * 50, rel=0.1)
    assert np.all(np.diff(found.curve.loss) == pytest.approx(-1))


def test_a_run_is_cut_into_blocks_after_its_warm_up() -> None:
    found = figures(75, warmup_s=2.5)
    assert [block.duration_s for block in found.blocks] == pytest.approx([10, 10, 15])
    assert found.blocks[0].energy_j == pytest.approx(1000, rel=0.02)
    assert found.blocks[2].amounts["token"] == 3000


def test_two_long_runs_have_an_interval_and_no_verdict() -> None:
    one = figures(240, name="a")
    other = dataclasses.replace(figures(240, name="b"), variant="moe")
    result = compare([one, other], "dense").results[0]
    assert result.low <= result.ratio <= result.high
    assert result.high - result.low < 0.01
    assert (result.verdict, result.reason) == ("not resolved", "one run each")
