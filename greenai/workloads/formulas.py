"""Parameters and FLOPs of a reference model in closed form, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig

FLOPS_PER_MAC = 2
PASSES = 3
"""A forward pass and a backward pass of twice its products: gradients of input and weight."""
FUSED_PASSES = 3.5
"""A fused kernel keeps no scores: its backward computes them again, 5 products for the forward's 2
(torch.utils.flop_counter, sdpa_backward_flop_count, counts the same)."""
CAUSAL_KERNELS = frozenset({"flash", "efficient", "cudnn"})
"""Fused kernels of torch that pass over blocks which causality hides whole."""
FLEX_BLOCK = 128
"""Queries, and keys, that FlexAttention computes or passes over at a time (torch's default)."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of training on one token, forward and backward.

    Args:
        executed: What is multiplied, as laid out: masked scores where they are not passed over,
            scores that a fused backward computes again, room that a capacity keeps for experts.
        useful: What the result depends on: causal and within the window; of ``linear`` attention
            its recurrent form. No kernel changes it.
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
        >>> from greenai.workloads.architecture import ModelConfig
        >>> parameters_total(ModelConfig()) < parameters_total(ModelConfig(feed_forward="moe"))
        True
    """
    return _parameters(config, experts=config.experts)


def parameters_active(config: ModelConfig) -> int:
    """Parameters that one token passes through: of ``moe``, its experts and the router.

    Args:
        config: The model.

    Returns:
        Number of parameters. Of two models that differ in feed-forward alone, ``moe`` has
        `layers * width * experts` more: the router.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> dense, moe = ModelConfig(), ModelConfig(feed_forward="moe")
        >>> parameters_active(moe) - parameters_active(dense) == 4 * 128 * 8
        True
    """
    return _parameters(config, experts=config.top_k)


def _parameters(config: ModelConfig, experts: int) -> int:
    """Count parameters with so many experts in each block that are routed to."""
    embeddings = (config.vocabulary + config.sequence) * config.width
    norms = (2 * config.layers + 1) * config.width
    feed_forward = 2 * config.width * config.expert_width
    if config.feed_forward == "moe":
        feed_forward *= experts + config.shared_experts
        feed_forward += config.width * config.experts
    return embeddings + norms + config.layers * (_projections(config) + feed_forward)


def _projections(config: ModelConfig) -> int:
    """Parameters of the matrices for queries, keys, values and the way back."""
    return 2 * config.width * (config.width + config.key_value_width)


def flops_per_token(config: ModelConfig, kernel: str = "math") -> Flops:
    """FLOPs of training on one token, averaged over the positions of a full sequence.

    Forward, a multiplication and an addition being two: ``2 · parameters`` for each matrix that a
    token passes through and ``4 · width · keys`` a layer for scores and their use. Backward is
    twice forward, and a half more of scores that a fused kernel computes again. Normalisations,
    softmax and the embedding's look-up are left out. With a capacity, the rows it keeps room for
    are multiplied, empty or not, to which rounding adds less than one row an expert and batch.

    Args:
        config: The model.
        kernel: What computes attention, as a run's facts name it. ``flash``, ``efficient`` and
            ``cudnn`` pass over what causality hides, but for blocks on the diagonal, of unknown
            size and left out here; ``flex`` over blocks of 128 outside the window; any other
            name multiplies everything that is laid out.

    Returns:
        Executed and useful FLOPs.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> full = flops_per_token(ModelConfig())
        >>> near = flops_per_token(ModelConfig(attention="sliding_window"))
        >>> near.executed < full.useful < full.executed
        True

    Source: Hoffmann et al. 2022, arXiv:2203.15556, appendix F, with the window and top-k added.
    """
    is_moe = config.feed_forward == "moe"
    capacity = config.capacity_factor if is_moe and config.capacity_factor else 1.0
    fused = kernel in CAUSAL_KERNELS or kernel == "flex"

    def training(keys: float, rows: float, passes: float) -> float:
        experts = config.top_k * rows + config.shared_experts if is_moe else 1.0
        feed_forward = 2 * config.width * config.expert_width * experts
        if is_moe:
            feed_forward += config.width * config.experts
        matrices = config.layers * (_projections(config) + feed_forward)
        matrices += config.width * config.vocabulary
        attention = config.layers * 2 * config.width * keys
        return FLOPS_PER_MAC * (PASSES * matrices + passes * attention)

    return Flops(
        executed=training(
            keys_executed(config, kernel), capacity, FUSED_PASSES if fused else PASSES
        ),
        useful=training(keys_useful(config), min(1.0, capacity), PASSES),
    )


def keys_executed(config: ModelConfig, kernel: str = "math") -> float:
    """Keys that are multiplied for one query, masked ones included, on average.

    Args:
        config: The model.
        kernel: As for `flops_per_token`.

    Returns:
        Keys a query. Of ``linear`` attention those of a chunk, and the state's rows as keys.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> keys_executed(ModelConfig(attention="sliding_window", sequence=512, window=64))
        128.0
        >>> keys_executed(ModelConfig(sequence=512)), keys_executed(ModelConfig(), "flash")
        (512.0, 256.5)
    """
    if config.attention == "linear":
        return (config.chunk + config.head_width) * _padding(config.sequence, config.chunk)
    if config.is_windowed:
        if kernel == "flex":
            return _flex_keys(config.sequence, config.window)
        return 2.0 * config.window * _padding(config.sequence, config.window)
    if kernel in CAUSAL_KERNELS:
        return keys_useful(config)
    return float(config.sequence)


def keys_useful(config: ModelConfig) -> float:
    """Keys that one query may see, on average over the positions.

    Args:
        config: The model.

    Returns:
        Keys a query. ``linear`` attention sees all before it through a state that costs as much
        as so many keys as a head is wide.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> keys_useful(ModelConfig(sequence=512))
        256.5
    """
    if config.attention == "linear":
        return float(config.head_width)
    seen = config.window if config.is_windowed else config.sequence
    return seen - seen * (seen - 1) / (2 * config.sequence)


def _padding(sequence: int, block: int) -> float:
    """Positions computed for each that is real, when the last block is filled up."""
    return -(-sequence // block) * block / sequence


def _flex_keys(sequence: int, window: int) -> float:
    """Keys in the blocks that FlexAttention visits, a query of the sequence."""
    blocks = -(-sequence // FLEX_BLOCK)
    firsts = (max(0, (block * FLEX_BLOCK - window + 1) // FLEX_BLOCK) for block in range(blocks))
    visited = sum(block - first + 1 for block, first in enumerate(firsts))
    return visited * FLEX_BLOCK * FLEX_BLOCK / sequence
