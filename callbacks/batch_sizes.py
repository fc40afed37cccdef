"""How many samples each batch of a data loader has, told by its length and never by its data."""

from __future__ import annotations

from typing import Any


class BatchSizes:
    """Counts through the epochs of a loader whose batches an adapter is not shown.

    All batches of an epoch are full but the last, which has what is left.

    Args:
        loader: A data loader with a batch sampler; None, an iterable data set and the loader of
            one of several processes leave the sizes unknown.
        world_size: Number of processes that share the data.
        given: Samples of every batch, where the user says so.

    Example:
        >>> import torch
        >>> sizes = BatchSizes(torch.utils.data.DataLoader(range(5), batch_size=2))
        >>> sizes.epoch_begins(whole=True)
        >>> [sizes.next() for _ in range(3)]
        [2.0, 2.0, 1.0]
        >>> BatchSizes(None, given=4).next()
        4.0
    """

    def __init__(self, loader: Any = None, world_size: int = 1, given: int | None = None) -> None:
        self._given = given
        self._size = self._samples = 0
        sampler = getattr(loader, "batch_sampler", None)
        if given is None and world_size == 1 and sampler is not None:
            try:
                self._size, self._samples = int(sampler.batch_size), len(sampler.sampler)
            except (AttributeError, TypeError, ValueError):  # another kind of sampler
                self._size = 0
        self._left: int | None = None

    def epoch_begins(self, *, whole: bool) -> None:
        """Begin an epoch; of one that was resumed in its middle the position is unknown."""
        self._left = self._samples if whole and self._size > 0 else None

    def next(self) -> float | None:
        """Samples of the next batch; None where they are unknown."""
        if self._given is not None:
            return float(self._given)
        if not self._left:
            return None
        size = min(self._size, self._left)
        self._left -= size
        return float(size)
