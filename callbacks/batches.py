"""What a batch tells about itself: samples, tokens and loss, without waiting for a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch

DEPTH_MAX = 4
"""A batch nested deeper than this is not searched."""


def plain_number(value: Any) -> float | None:
    """Make a float of a number or of a tensor on the CPU; None for all else.

    A tensor on a device is unknown: reading it would make the training wait for the device.

    Example:
        >>> plain_number(3), plain_number(torch.tensor(0.5)), plain_number("3")
        (3.0, 0.5, None)
    """
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 and value.device.type == "cpu" else None
    return float(value) if isinstance(value, Real) else None  # also numpy's scalars


def samples_in(batch: Any) -> int | None:
    """Count the samples of a batch: first dimension of the first tensor found in it.

    Args:
        batch: A tensor, or mappings, sequences and dataclasses of them.

    Returns:
        Number of samples; None where no tensor with a dimension is found.

    Example:
        >>> samples_in({"id": "a", "x": (torch.zeros(8, 3), torch.zeros(8))})
        8
    """
    tensor = _first_tensor(batch, DEPTH_MAX)
    return None if tensor is None else int(tensor.shape[0])


def tokens_in(batch: Any) -> int | None:
    """Count the tokens of a batch: elements of ``input_ids``.

    On the CPU padding is left out where there is an ``attention_mask``; on a device it counts,
    because to look at the mask would make the training wait for the device.

    Args:
        batch: A mapping, or an object with these attributes.

    Returns:
        Number of tokens; None where there are no integer ``input_ids`` of two or more dimensions.

    Example:
        >>> ids, mask = torch.ones(2, 4, dtype=torch.long), torch.tensor([[1] * 4, [1, 0, 0, 0]])
        >>> tokens_in({"input_ids": ids}), tokens_in({"input_ids": ids, "attention_mask": mask})
        (8, 5)
        >>> tokens_in((ids, ids)) is None
        True
    """
    ids, mask = _part(batch, "input_ids"), _part(batch, "attention_mask")
    if not isinstance(ids, torch.Tensor) or ids.ndim < 2 or ids.is_floating_point():  # noqa: PLR2004 - a sample has positions
        return None
    if isinstance(mask, torch.Tensor) and mask.shape == ids.shape and mask.device.type == "cpu":
        return int(torch.count_nonzero(mask))
    return int(ids.numel())


Counter = int | Callable[[Any], int] | None
"""How many of something a batch has: a number, a function of the batch, or None: found in it."""


def count(given: Counter, find: Callable[[Any], int | None], batch: Any) -> float | None:
    """Count by what the user gave, else by what is found in the batch.

    Example:
        >>> count(8, samples_in, None), count(len, samples_in, "abc")
        (8.0, 3.0)
        >>> count(None, samples_in, "abc") is None
        True
    """
    if given is None:
        return plain_number(find(batch))
    return plain_number(given(batch)) if callable(given) else float(given)


@dataclasses.dataclass(slots=True)
class StepFacts:
    """Sums over the batches of one optimizer step; None as soon as one batch does not say.

    Example:
        >>> facts = StepFacts()
        >>> facts.add(tokens=10.0, samples=2.0, loss=0.5)
        >>> facts.add(tokens=None, samples=2.0, loss=0.25)
        >>> facts.batches, facts.tokens, facts.samples, facts.mean_loss
        (2, None, 4.0, 0.375)
    """

    batches: int = 0
    tokens: float | None = 0.0
    samples: float | None = 0.0
    loss: float | None = 0.0

    def add(self, *, tokens: float | None, samples: float | None, loss: float | None) -> None:
        """Add a batch."""
        self.batches += 1
        self.tokens = None if self.tokens is None or tokens is None else self.tokens + tokens
        self.samples = None if self.samples is None or samples is None else self.samples + samples
        self.loss = None if self.loss is None or loss is None else self.loss + loss

    @property
    def mean_loss(self) -> float | None:
        """Mean over the batches; None where one is unknown."""
        return None if self.loss is None or not self.batches else self.loss / self.batches


def _part(batch: Any, name: str) -> Any:
    return batch.get(name) if isinstance(batch, Mapping) else getattr(batch, name, None)


def _first_tensor(batch: Any, depth: int) -> torch.Tensor | None:
    if isinstance(batch, torch.Tensor):
        return batch if batch.ndim > 0 else None
    if depth == 0 or isinstance(batch, str | bytes):
        return None
    parts: list[Any] = []
    if isinstance(batch, Mapping):
        parts = list(batch.values())
    elif isinstance(batch, Sequence):
        parts = list(batch[:64])
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        parts = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    for part in parts:
        found = _first_tensor(part, depth - 1)
        if found is not None:
            return found
    return None
