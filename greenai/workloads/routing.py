"""What the router of a mixture of experts did in a training, told in plain numbers at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.workloads.experts import Routing

POINTS_MAX = 64


class RouterCourse:
    """Router loads at some steps, kept on the device so that no step waits for them.

    At most 64 points are kept: when they are full every second is dropped, and from then on half
    as many steps are taken.

    Example:
        >>> import torch
        >>> from greenai.workloads.experts import Routing
        >>> course = RouterCourse()
        >>> for step in range(1000):
        ...     load = torch.tensor([3, 1]) * step
        ...     course.offer(step, [Routing(load, torch.tensor(0), torch.tensor(1.5))])
        >>> len(course.points) <= POINTS_MAX, course.to_json()[1]
        (True, {'step': 32, 'imbalance': 1.5, 'balance_loss': 1.5})
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, list[Routing]]] = []
        self._every = 1

    def offer(self, step: int, routings: Sequence[Routing]) -> None:
        """Keep a copy of the loads if this step is one of those to be kept.

        Args:
            step: Number of the step.
            routings: Of each block, over all steps so far.
        """
        if step % self._every:
            return
        if len(self.points) == POINTS_MAX:
            self._every *= 2
            self.points = self.points[::2]
            if step % self._every:
                return
        copies = [
            replace(one, load=one.load.clone(), dropped=one.dropped.clone()) for one in routings
        ]
        self.points.append((step, copies))

    def to_json(self) -> list[dict[str, Any]]:
        """Tell the points in plain numbers; waits for the device."""
        return [
            {
                "step": step,
                "imbalance": _mean([one.imbalance for one in routings]),
                "balance_loss": _mean([float(one.balance) for one in routings]),
            }
            for step, routings in self.points
            if all(one.load.sum() > 0 for one in routings)
        ]


def router_load(routings: Sequence[Routing], course: RouterCourse) -> dict[str, Any] | None:
    """Tell what the routers of a model did, ready for JSON; waits for the device.

    Args:
        routings: Of each block, over the training.
        course: How it came about.

    Returns:
        As described in greenai/workloads/facts.py; None where there is no router, or nothing ran.

    Example:
        >>> import torch
        >>> from greenai.workloads.experts import Routing
        >>> block = Routing(torch.tensor([3, 1]), torch.tensor(1), torch.tensor(1.25))
        >>> load = router_load([block, block], RouterCourse())
        >>> load["shares"], load["imbalance"], load["assignments"], load["dropped"]
        ([[0.75, 0.25], [0.75, 0.25]], 1.5, 8, 2)
        >>> router_load([], RouterCourse()) is None
        True
    """
    assignments = sum(int(one.load.sum()) for one in routings)
    if not assignments:
        return None
    return {
        "shares": [(one.load / one.load.sum()).tolist() for one in routings],
        "imbalance": _mean([one.imbalance for one in routings]),
        "assignments": assignments,
        "dropped": sum(int(one.dropped) for one in routings),
        "balance_loss": _mean([float(one.balance) for one in routings]),
        "course": course.to_json(),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
