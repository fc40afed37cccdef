"""Steps of several ranks made one, as they settle; a rank that has ended is not waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.following.attempt import StepRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from greenai.units import Floats, Ns

    Bools = npt.NDArray[np.bool_]

_ENERGY = slice(0, 3)
_DURATION = 3


class _Held(NamedTuple):
    """Steps of all ranks, and of which rank each is."""

    number: Ns
    end_s: Floats
    values: Floats
    metered: Bools


class StepJoin:
    """Joins the steps of the ranks of one launch, as the report joins them.

    The latest end and the longest time count; energy and work are sums. The energy of a step that
    some metering rank does not know is unknown.

    Example:
        >>> import numpy as np
        >>> join = StepJoin()
        >>> def rows(index, energy_j):
        ...     return StepRows(np.array([index]), np.array([1.0]), np.full((8, 1), energy_j))
        >>> join.add({0: [rows(5, 2.0)]}, silent=frozenset())
        >>> len(join.take({0: True, 1: True}).number)
        0
        >>> join.add({1: [rows(5, 3.0)]}, silent=frozenset())
        >>> join.take({0: True, 1: True}).values[0].tolist()
        [5.0]
    """

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._latest: dict[int, int] = {}

    def add(self, steps: Mapping[int, list[StepRows]], *, silent: frozenset[int]) -> None:
        """Take steps by rank.

        Args:
            steps: What has settled, by rank.
            silent: Ranks that meter nothing and were not asked to.
        """
        for rank, parts in steps.items():
            for index, end_s, values in parts:
                if len(index):
                    metered = np.full(len(index), rank not in silent)
                    self._held.append(_Held(index, end_s, values, metered))
                    self._latest[rank] = max(self._latest.get(rank, -1), int(index.max()))

    def take(self, going: Mapping[int, bool]) -> StepRows:
        """Joined steps that no rank still has to settle, in order.

        Args:
            going: Whether each rank may still settle steps.
        """
        if not self._held:
            return StepRows(np.empty(0, np.int64), np.empty(0), np.empty((8, 0)))
        waited = [self._latest.get(rank, -1) for rank, goes_on in going.items() if goes_on]
        index, end_s, values, metered = (
            np.concatenate(parts, axis=-1) for parts in zip(*self._held, strict=True)
        )
        ready = index <= min(waited, default=2**62)
        rest = ~ready
        self._held = [_Held(index[rest], end_s[rest], values[:, rest], metered[rest])]
        if rest.sum() == 0:
            self._held = []
        if len(going) == 1:
            return StepRows(index[ready], end_s[ready], values[:, ready])
        return _joined(index[ready], end_s[ready], values[:, ready], metered[ready])


def _joined(index: Ns, end_s: Floats, values: Floats, metered: Bools) -> StepRows:
    """One column a step."""
    number, place = np.unique(index, return_inverse=True)
    size = len(number)
    joined = np.zeros((len(values), size))
    for row, own in enumerate(values):
        joined[row] = np.bincount(place, own, minlength=size)
    for row in range(*_ENERGY.indices(3)):
        own = values[row][metered]
        sums = np.bincount(place[metered], own, minlength=size)
        known = np.bincount(place[metered], minlength=size) > 0
        joined[row] = np.where(known, sums, np.nan)
    latest_s, longest_s = np.full(size, -np.inf), np.zeros(size)
    np.maximum.at(latest_s, place, end_s)
    np.maximum.at(longest_s, place, values[_DURATION])
    joined[_DURATION] = longest_s
    return StepRows(number, latest_s, joined)
