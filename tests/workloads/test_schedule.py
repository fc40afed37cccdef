from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import pytest

from greenai.workloads.schedule import Budget, balanced_repeats, balanced_turns, follow

if TYPE_CHECKING:
    from greenai.workloads.schedule import Turn

THREE = ["dense", "moe", "sliding_window"]


def test_three_variants_go_through_all_six_orders_in_six_repeats() -> None:
    orders = [tuple(turn.variant for turn in turns) for turns in balanced_turns(THREE, 6)]
    assert sorted(orders) == sorted(permutations(THREE))


@pytest.mark.parametrize("repeats", [3, 6, 9, 12])
def test_each_variant_has_each_position_equally_often(repeats: int) -> None:
    turns = [turn for turns in balanced_turns(THREE, repeats) for turn in turns]
    places = Counter((turn.variant, turn.position) for turn in turns)
    assert set(places.values()) == {repeats // 3}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
def test_each_variant_has_each_place_and_follows_each_other_equally_often(count: int) -> None:
    names = "abcdefg"[:count]
    repeats = balanced_repeats(count)
    assert repeats == (count if count % 2 == 0 else 2 * count)
    plan = balanced_turns(names, 2 * repeats)
    places = Counter((turn.variant, turn.position) for turns in plan for turn in turns)
    follows = Counter(
        (earlier.variant, later.variant) for turns in plan for earlier, later in pairwise(turns)
    )
    assert len(places) == count**2
    assert len(set(places.values())) == 1
    assert len(follows) == count * (count - 1)
    assert len(set(follows.values())) == 1


def test_two_variants_are_interleaved_as_abba() -> None:
    names = "".join(turn.variant for turns in balanced_turns(["a", "b"], 2) for turn in turns)
    assert names == "abba"


def test_every_variant_of_a_repeat_has_its_number_as_seed() -> None:
    for number, turns in enumerate(balanced_turns(THREE, 4)):
        assert {turn.repeat for turn in turns} == {number}
        assert sorted(turn.variant for turn in turns) == sorted(THREE)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def train_for(turn_s: float, limit_s: float | None, reserve_s: float = 0) -> tuple[int, list[Turn]]:
    clock, trained = Clock(), []
    budget = Budget(limit_s, reserve_s, clock)

    def train(turn: Turn) -> None:
        clock.now_s += turn_s
        trained.append(turn)

    return follow(balanced_turns(THREE, 6), budget, train), trained


@pytest.mark.parametrize(
    ("turn_s", "limit_s", "reserve_s", "repeats"),
    [
        (8, None, 0, 6),
        (8, 240, 10, 6),
        (8, 144, 0, 6),
        (8, 143, 0, 5),
        (8, 144, 1, 5),
        (20, 240, 10, 3),
        (500, 240, 10, 1),
    ],
)
def test_the_budget_cuts_whole_repeats_and_never_the_first(
    turn_s: float, limit_s: float | None, reserve_s: float, repeats: int
) -> None:
    done, trained = train_for(turn_s, limit_s, reserve_s)
    assert done == repeats
    assert len(trained) == 3 * repeats


def test_a_machine_that_slows_down_is_noticed() -> None:
    clock = Clock()
    budget = Budget(100, clock=clock)
    clock.now_s += 20
    assert budget.allows_another(done=1)
    clock.now_s += 60
    assert not budget.allows_another(done=2)


def test_what_comes_before_the_first_repeat_is_no_part_of_a_repeat() -> None:
    clock = Clock()
    budget = Budget(100, clock=clock)
    clock.now_s += 60
    assert budget.allows_another(done=0)
    clock.now_s += 15
    assert budget.allows_another(done=1)
    clock.now_s += 15
    assert not budget.allows_another(done=2)


def test_each_repeat_is_told_when_it_is_done() -> None:
    told: list[int] = []
    follow(balanced_turns(THREE, 3), Budget(None), lambda _: None, told.append)
    assert told == [1, 2, 3]


def test_a_failure_in_a_run_is_not_swallowed() -> None:
    def fail(turn: Turn) -> None:
        raise ZeroDivisionError(turn.variant)

    with pytest.raises(ZeroDivisionError, match="dense"):
        follow(balanced_turns(THREE, 1), Budget(None), fail)
