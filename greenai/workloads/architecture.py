"""What one reference model is, and its parameters and FLOPs in closed form, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from greenai.errors import OrderError

FeedForward = Literal["dense", "moe"]
Attention = Literal["sdpa", "sliding_window"]

FEED_FORWARDS: tuple[FeedForward, ...] = ("dense", "moe")
ATTENTIONS: tuple[Attention, ...] = ("sdpa", "sliding_window")

FLOPS_PER_MAC = 2
PASSES_PER_TRAINING_STEP = 3
"""Forward once, backward twice: the gradients of the input and of the weight."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one byte-level transformer, with its two independent choices.

    Widths are stated for one token: `feed_forward_width` is what a token passes through
    in either feed-forward, so that ``dense`` and ``moe`` of one width are matched on active
    parameters (an expert is `feed_forward_width / top_k` wide). The router comes on top.

    Args:
        feed_forward: ``dense``, or ``moe``: each token goes to `top_k` of `experts`.
        attention: ``sdpa``: fused causal attention; ``sliding_window``: each position sees
            itself and the `window - 1` before it.
        vocabulary: Distinct tokens; 256 for bytes.
        sequence: Tokens in one sequence.
        layers: Blocks of attention and feed-forward.
        heads: Attention heads.
        width: Size of the residual stream.
        feed_forward_width: Hidden units that one token passes through in one block.
        experts: Experts in one block; used by ``moe``.
        top_k: Experts that one token goes to; used by ``moe``. With ``top_k=1`` and several
            experts the router learns from the balance loss alone, its gate being always 1.
        window: Positions that one position sees; used by ``sliding_window``.
        balance_weight: Weight of the load-balancing loss; used by ``moe``.

    Raises:
        OrderError: A value is out of range, or two do not fit together.

    Example:
        >>> ModelConfig(feed_forward="moe", feed_forward_width=512, top_k=2).expert_width
        256
    """

    feed_forward: FeedForward = "dense"
    attention: Attention = "sdpa"
    vocabulary: int = 256
    sequence: int = 512
    layers: int = 4
    heads: int = 4
    width: int = 128
    feed_forward_width: int = 512
    experts: int = 8
    top_k: int = 2
    window: int = 64
    balance_weight: float = 0.01

    def __post_init__(self) -> None:
        """Refuse at the desk what would fail, or mislead, in training."""
        _one_of("feed_forward", self.feed_forward, FEED_FORWARDS)
        _one_of("attention", self.attention, ATTENTIONS)
        sizes = ("vocabulary", "sequence", "layers", "heads", "width", "feed_forward_width")
        for name in (*sizes, "experts", "top_k", "window"):
            _at_least_one(name, getattr(self, name))
        if self.width % self.heads:
            raise OrderError(
                f"width {self.width} is not a multiple of heads {self.heads}.",
                "The heads could not share the width evenly.",
                f"width={self.heads * max(1, self.width // self.heads)}, or other heads",
            )
        if self.feed_forward == "moe":
            self._check_experts()

    def _check_experts(self) -> None:
        """See that the experts can be routed to and share the active width evenly."""
        if self.top_k > self.experts:
            raise OrderError(
                f"top_k {self.top_k} is more than the {self.experts} experts.",
                "A token cannot go to more experts than there are.",
                f"top_k={self.experts}, or more experts",
            )
        if self.feed_forward_width % self.top_k:
            raise OrderError(
                f"feed_forward_width {self.feed_forward_width} is not a multiple of "
                f"top_k {self.top_k}.",
                "The experts of a token could not be matched with the dense layer.",
                "give a feed_forward_width that top_k divides",
            )

    @property
    def expert_width(self) -> int:
        """Hidden units of one expert, or of the dense layer."""
        return self.feed_forward_width // (self.top_k if self.feed_forward == "moe" else 1)

    @property
    def head_width(self) -> int:
        """Size of one head's queries, keys and values."""
        return self.width // self.heads


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a choice that does not exist."""
    if value not in allowed:
        raise OrderError(
            f"{name} {value!r} is unknown.",
            "The model cannot be built.",
            f"one of: {', '.join(allowed)}",
        )


def _at_least_one(name: str, value: int) -> None:
    """Refuse a size below one."""
    if value < 1:
        raise OrderError(
            f"{name} is {value}.", "The model cannot be built.", f"give {name} of at least 1"
        )


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of training on one token, forward and backward.

    Args:
        executed: What the computation as laid out multiplies, masked scores included: all
            `sequence` keys for ``sdpa`` (a fused kernel may skip masked blocks and execute
            fewer), both blocks for ``sliding_window``.
        useful: What the result depends on: causal and within the window.
    """

    executed: float
    useful: float


def parameters_total(config: ModelConfig) -> int:
    """Parameters held in memory, the embedding counted once (it is also the output layer).

    Args:
        config: The model.

    Returns:
        Number of parameters.

    Example:
        >>> parameters_total(ModelConfig()) < parameters_total(ModelConfig(feed_forward="moe"))
        True
    """
    return _parameters(config, experts=config.experts)


def parameters_active(config: ModelConfig) -> int:
    """Parameters that one token passes through: `top_k` experts of a ``moe`` block, and its router.

    Args:
        config: The model.

    Returns:
        Number of parameters. Of two models that differ in feed-forward alone, ``moe`` has
        `layers * width * experts` more: the router.

    Example:
        >>> dense, moe = ModelConfig(), ModelConfig(feed_forward="moe")
        >>> parameters_active(moe) - parameters_active(dense) == 4 * 128 * 8
        True
    """
    return _parameters(config, experts=config.top_k)


def _parameters(config: ModelConfig, experts: int) -> int:
    """Count parameters with so many experts in each block."""
    embeddings = (config.vocabulary + config.sequence) * config.width
    norms = (2 * config.layers + 1) * config.width
    attention = 4 * config.width**2
    feed_forward = 2 * config.width * config.expert_width
    if config.feed_forward == "moe":
        feed_forward = experts * feed_forward + config.width * config.experts
    return embeddings + norms + config.layers * (attention + feed_forward)


def flops_per_token(config: ModelConfig) -> Flops:
    """FLOPs of training on one token, averaged over the positions of a full sequence.

    Forward, a multiplication and an addition being two: ``2 · parameters`` for each matrix that a
    token passes through and ``4 · width · keys`` a layer for scores and their use. Backward is
    twice forward. Normalisations, softmax and the embedding's look-up are left out.

    Args:
        config: The model.

    Returns:
        Executed and useful FLOPs.

    Example:
        >>> full = flops_per_token(ModelConfig())
        >>> near = flops_per_token(ModelConfig(attention="sliding_window"))
        >>> near.executed < full.useful < full.executed
        True

    Source: Hoffmann et al. 2022, arXiv:2203.15556, appendix F, with the window and top-k added.
    """
    feed_forward = 2 * config.width * config.feed_forward_width
    if config.feed_forward == "moe":
        feed_forward += config.width * config.experts
    matrices = config.layers * (4 * config.width**2 + feed_forward)
    matrices += config.width * config.vocabulary

    def training(keys: float) -> float:
        macs = matrices + config.layers * 2 * config.width * keys
        return PASSES_PER_TRAINING_STEP * FLOPS_PER_MAC * macs

    return Flops(executed=training(keys_executed(config)), useful=training(keys_useful(config)))


def keys_executed(config: ModelConfig) -> float:
    """Keys that are multiplied for one query, masked ones included, on average.

    Args:
        config: The model.

    Returns:
        Keys a query.

    Example:
        >>> keys_executed(ModelConfig(attention="sliding_window", sequence=512, window=64))
        128.0
    """
    if not is_windowed(config):
        return float(config.sequence)
    blocks = -(-config.sequence // config.window)
    return 2.0 * config.window * (blocks * config.window) / config.sequence


def keys_useful(config: ModelConfig) -> float:
    """Keys that one query may see, on average over the positions.

    Args:
        config: The model.

    Returns:
        Keys a query.

    Example:
        >>> keys_useful(ModelConfig(sequence=512))
        256.5
    """
    seen = config.window if is_windowed(config) else config.sequence
    return seen - seen * (seen - 1) / (2 * config.sequence)


def is_windowed(config: ModelConfig) -> bool:
    """Whether the window hides anything; one as long as the sequence is full attention.

    Args:
        config: The model.

    Returns:
        True where attention is computed in blocks.

    Example:
        >>> is_windowed(ModelConfig(attention="sliding_window", sequence=64, window=64))
        False
    """
    return config.attention == "sliding_window" and config.window < config.sequence
