"""Training FLOPs of a published architecture from its parameters, tokens and attention."""

from __future__ import annotations

import dataclasses
import math

from greenai.errors import OrderError

FLOPS_PER_PARAMETER = 6
"""Forward once (a multiplication and an addition), backward twice."""
FLOPS_PER_ATTENDED = 12
"""Scores and their sum over the values, each a multiplication and an addition, three passes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Architecture:
    """A transformer as its paper states it.

    Args:
        parameters: All parameters, embeddings as counted by whoever states the number.
        active_parameters: Those that work on one token; all of them where None.
        layers: Blocks; None leaves the attention term unknown.
        heads: Attention heads of a block.
        head_width: Size of one head.
        sequence: Tokens of one sequence.
        window: Positions that one position sees; None is all before it.
        experts: Experts of a block; None is a dense model.
        experts_per_token: Experts that one token goes to.
        expert_parameters: Parameters of one expert, summed over all blocks.

    Raises:
        OrderError: A value is not above 0, or two do not fit together.

    Example:
        >>> Architecture(46.7e9, experts=8, experts_per_token=2, expert_parameters=5.6e9).active
        13100000000.0
    """

    parameters: float
    active_parameters: float | None = None
    layers: int | None = None
    heads: int | None = None
    head_width: int | None = None
    sequence: int | None = None
    window: int | None = None
    experts: int | None = None
    experts_per_token: int | None = None
    expert_parameters: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no model."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value < math.inf:
                raise OrderError(
                    f"{field.name} is {value:g}.",
                    "No model has that; FLOPs cannot be worked out.",
                    f"give {field.name} above 0",
                )
        _all_or_none(self, "the attention term", ("layers", "heads", "head_width", "sequence"))
        if self.window is not None and self.sequence is None:
            raise OrderError(
                f"A window of {self.window} was given without the sequence.",
                "The attention term cannot be worked out.",
                "give layers, heads, head width and sequence too",
            )
        if self.active_parameters is None:
            _all_or_none(
                self,
                "the active parameters",
                ("experts", "experts_per_token", "expert_parameters"),
            )
        if not 0 < self.active <= self.parameters:
            raise OrderError(
                f"{self.active:.4g} of {self.parameters:.4g} parameters would work on a token.",
                "No token passes more parameters than there are, or none.",
                "check total and active parameters, experts and experts per token",
            )

    @property
    def active(self) -> float:
        """Parameters that work on one token."""
        if self.active_parameters is not None:
            return self.active_parameters
        if self.experts and self.experts_per_token and self.expert_parameters:
            idle = self.experts - self.experts_per_token
            return self.parameters - idle * self.expert_parameters
        return self.parameters

    @property
    def is_sparse(self) -> bool:
        """Whether some parameters do not work on a token."""
        return self.active < self.parameters

    @property
    def has_attention(self) -> bool:
        """Whether enough is known for the attention term."""
        return self.layers is not None


def parameter_flops(architecture: Architecture, tokens: float) -> float:
    """FLOPs of the parameters: 6 for each active one and token.

    Example:
        >>> parameter_flops(Architecture(7e9), tokens=2e12)
        8.4e+22
    """
    return FLOPS_PER_PARAMETER * architecture.active * tokens


def attention_flops(architecture: Architecture, tokens: float) -> float:
    """FLOPs of attention over positions, causal: what is masked is not counted.

    12 x layers x heads x head width x the positions that a token sees on average.

    Returns:
        FLOPs; NaN where the architecture does not say layers, heads, width and sequence.

    Example:
        >>> llama = Architecture(6.74e9, layers=32, heads=32, head_width=128, sequence=4096)
        >>> round(attention_flops(llama, 1.0) / parameter_flops(llama, 1.0), 3)
        0.08

    Source: arXiv:2204.02311, appendix B, which counts the masked half too.
    """
    one = architecture
    if not (one.layers and one.heads and one.head_width and one.sequence):
        return math.nan
    seen = mean_positions(one.sequence, one.window)
    return FLOPS_PER_ATTENDED * one.layers * one.heads * one.head_width * seen * tokens


def mean_positions(sequence: int, window: int | None = None) -> float:
    """Positions that one position sees on average, itself among them.

    Example:
        >>> mean_positions(4), mean_positions(4, window=1), mean_positions(4, window=9)
        (2.5, 1.0, 2.5)
    """
    if window is None or window >= sequence:
        return (sequence + 1) / 2
    return (window * (sequence - window) + window * (window + 1) / 2) / sequence


def _all_or_none(architecture: Architecture, what: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if getattr(architecture, name) is None]
    if missing and len(missing) < len(names):
        said = ", ".join(name.replace("_", " ") for name in missing)
        raise OrderError(
            f"Not given: {said}.",
            f"Without it {what} cannot be worked out, and none is guessed.",
            f"give {said} too, or none of {', '.join(name.replace('_', ' ') for name in names)}",
        )
