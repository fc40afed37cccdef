"""In which order the variants take their turns, and how many repeats a time budget allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Turn:
    """One training run of the plan.

    Args:
        variant: What is trained.
        repeat: Which repeat it belongs to, from 0; also its seed.
        position: Which place it has in its repeat, from 0.
    """

    variant: str
    repeat: int
    position: int


def balanced_turns(variants: Sequence[str], repeats: int) -> list[list[Turn]]:
    """Plan every repeat so that drift and the run before fall on all variants alike.

    The orders are a Williams design: each variant has each place equally often, and each follows
    each other one equally often within a repeat. Two variants are interleaved ABBA, three go
    through all six orders, an even number n takes n orders and an odd one 2 n.

    Args:
        variants: Names, in any order.
        repeats: How many times each variant is trained; a multiple of `balanced_repeats` is
            balanced.

    Returns:
        The turns of each repeat, in order.

    Example:
        >>> plan = balanced_turns(["a", "b", "c"], repeats=6)
        >>> ["".join(turn.variant for turn in turns) for turns in plan]
        ['abc', 'bca', 'cab', 'cba', 'acb', 'bac']

    Source: Williams 1949, Australian Journal of Scientific Research A 2, 149.
    """
    orders = _williams(len(variants))
    return [
        [
            Turn(variants[number], repeat, place)
            for place, number in enumerate(orders[repeat % len(orders)])
        ]
        for repeat in range(repeats)
    ]


def balanced_repeats(variants: int) -> int:
    """After how many repeats the order is balanced.

    Example:
        >>> [balanced_repeats(count) for count in (1, 2, 3, 4, 5)]
        [1, 2, 6, 4, 10]
    """
    return len(_williams(variants))


def _williams(count: int) -> list[list[int]]:
    """Orders of `count` things: a zigzag 0, 1, n - 1, 2, n - 2, ... and its cyclic shifts.

    The steps of the zigzag, modulo n, are all different, so that over the shifts each thing
    follows each other one once; where n is odd, half of them come only with the reversed orders.
    """
    zigzag = [(step + 1) // 2 if step % 2 else (count - step // 2) % count for step in range(count)]
    orders = [[(number + shift) % count for number in zigzag] for shift in range(count)]
    if count % 2 and count > 1:
        orders += [order[::-1] for order in orders]
    return orders


@dataclass
class Budget:
    """A limit on wall-clock time that is kept by leaving out whole repeats.

    Args:
        limit_s: Seconds from now; None is no limit.
        reserve_s: Of these, seconds kept for what follows the last repeat.
        clock: Seconds on a monotonic clock.

    Example:
        >>> Budget(None).allows_another(done=1000)
        True
    """

    limit_s: float | None
    reserve_s: float = 0.0
    clock: Callable[[], float] = monotonic
    _started_s: float = field(init=False)
    _first_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Start counting."""
        self._started_s = self._first_s = self.clock()

    def allows_another(self, done: int) -> bool:
        """Whether one more repeat, as long as those before on average, ends within the limit.

        Args:
            done: Repeats done so far. The first is always allowed: without it there is no result.
        """
        now_s = self.clock()
        if done == 0:
            self._first_s = now_s
        if self.limit_s is None or done == 0:
            return True
        repeat_s = (now_s - self._first_s) / done
        return now_s - self._started_s + repeat_s + self.reserve_s <= self.limit_s


def follow(
    plan: list[list[Turn]],
    budget: Budget,
    train: Callable[[Turn], None],
    after: Callable[[int], None] = lambda _: None,
) -> int:
    """Train turn by turn until the plan ends or the budget does.

    Args:
        plan: The turns of each repeat.
        budget: The limit; looked at before each repeat, so that no repeat is left half done.
        train: Called for each turn.
        after: Called after each repeat with how many are done.

    Returns:
        Repeats done.

    Example:
        >>> follow(balanced_turns(["a"], repeats=2), Budget(None), print)
        Turn(variant='a', repeat=0, position=0)
        Turn(variant='a', repeat=1, position=0)
        2
    """
    for done, turns in enumerate(plan):
        if not budget.allows_another(done):
            return done
        for turn in turns:
            train(turn)
        after(done + 1)
    return len(plan)
