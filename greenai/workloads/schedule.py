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
    """Plan every repeat so that drift of the machine falls on all variants alike.

    The orders are the rotations of the variants and then the rotations of their reverse: three
    variants go through all six orders in six repeats, and after the first three each has already
    had each place once, so that a cut plan loses little balance.

    Args:
        variants: Names, in any order.
        repeats: How many times each variant is trained.

    Returns:
        The turns of each repeat, in order.

    Example:
        >>> plan = balanced_turns(["a", "b", "c"], repeats=6)
        >>> ["".join(turn.variant for turn in turns) for turns in plan]
        ['abc', 'bca', 'cab', 'cba', 'bac', 'acb']
    """
    orders = []
    for start in (list(variants), list(reversed(variants))):
        orders += [start[n:] + start[:n] for n in range(len(start))]
    return [
        [Turn(variant, repeat, place) for place, variant in enumerate(orders[repeat % len(orders)])]
        for repeat in range(repeats)
    ]


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

    def __post_init__(self) -> None:
        """Start counting."""
        self._started_s = self.clock()

    def allows_another(self, done: int) -> bool:
        """Whether one more repeat, as long as those before on average, ends within the limit.

        Args:
            done: Repeats done so far. The first is always allowed: without it there is no result.
        """
        if self.limit_s is None or done == 0:
            return True
        elapsed_s = self.clock() - self._started_s
        return elapsed_s * (done + 1) / done + self.reserve_s <= self.limit_s


def follow(plan: list[list[Turn]], budget: Budget, train: Callable[[Turn], None]) -> int:
    """Train turn by turn until the plan ends or the budget does.

    Args:
        plan: The turns of each repeat.
        budget: The limit; looked at before each repeat, so that no repeat is left half done.
        train: Called for each turn.

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
    return len(plan)
