"""Long arrays worked on a stretch at a time, so that what lies in between stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STRETCH = 2**17
"""Values of a stretch: ten arrays of them take 10 MB, and fit a cache better than memory."""


def stretches(count: int) -> Iterator[slice]:
    """Slices, in order, that cover ``count`` positions.

    Args:
        count: Positions; none give no slice.

    Yields:
        Slices of at most STRETCH positions.

    Example:
        >>> [(one.start, one.stop) for one in stretches(STRETCH + 5)]
        [(0, 131072), (131072, 131077)]
    """
    for start in range(0, count, STRETCH):
        yield slice(start, min(start + STRETCH, count))
