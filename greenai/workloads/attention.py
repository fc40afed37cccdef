"""Causal self-attention in five forms, and which kernel of torch computes it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig

KERNELS = {
    "flash_attention": "flash",
    "efficient_attention": "efficient",
    "cudnn_attention": "cudnn",
}
"""What torch's fused operators have in their name; ``math`` is none of them."""


def eager_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention whose scores lie in memory, masked ones included.

    Args:
        query: Shape (batch, heads, sequence, head width).
        key: As `query`.
        value: As `query`.

    Returns:
        As `query`.

    Example:
        >>> ones = torch.ones(1, 1, 5, 2)
        >>> bool(eager_attention(ones, ones, ones).allclose(ones))
        True
    """
    hidden = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.masked_fill(~hidden.tril(), float("-inf")).softmax(dim=-1) @ value


def windowed_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Causal attention to the `window` nearest positions, at a cost of O(sequence · window).

    The sequence is cut into blocks of `window` positions; the queries of a block meet the keys
    of their own block and of the one before, which hold all that they may see.

    Args:
        query: Shape (batch, heads, sequence, head width).
        key: As `query`.
        value: As `query`.
        window: Positions that one position sees, itself included.

    Returns:
        As `query`; equal to full attention under the mask ``0 <= i - j < window``.

    Example:
        >>> ones = torch.ones(1, 1, 5, 2)
        >>> bool(windowed_attention(ones, ones, ones, window=2).allclose(ones))
        True
    """
    batch, heads, sequence, width = query.shape
    # Positions added at the end lie in every real query's future, so that the mask hides them.
    query, key, value = (_in_blocks(x, window) for x in (query, key, value))

    def with_previous(x: Tensor) -> Tensor:
        return torch.cat((_shifted(x), x), dim=2)

    out = F.scaled_dot_product_attention(
        query,
        with_previous(key),
        with_previous(value),
        attn_mask=window_mask(query.shape[1], window, query.device),
    )
    return out.reshape(batch, heads, -1, width)[:, :, :sequence]


def window_mask(blocks: int, window: int, device: torch.device) -> Tensor:
    """Which of the keys of two neighbouring blocks a query of the second may see.

    Args:
        blocks: Blocks in the sequence.
        window: Positions in a block.
        device: Where to build it.

    Returns:
        True where the query sees the key. Shape (1, blocks, window, 2 · window). The first
        block has none before it.

    Example:
        >>> window_mask(1, 2, torch.device("cpu")).int().tolist()
        [[[[0, 0, 1, 0], [0, 0, 1, 1]]]]
    """
    block = torch.arange(blocks, device=device)[:, None, None]
    query = torch.arange(window, device=device)[:, None] + window
    key = torch.arange(2 * window, device=device)
    distance = query - key
    return ((distance >= 0) & (distance < window) & ((block > 0) | (key >= window)))[None]


def linear_attention(query: Tensor, key: Tensor, value: Tensor, chunk: int) -> Tensor:
    """Causal attention with ``elu(x) + 1`` in place of the softmax, at a cost of O(sequence).

    With φ that map, position i gets ``φ(q_i) · Σ φ(k_j) v_j / φ(q_i) · Σ φ(k_j)`` over
    ``j <= i``. Within a chunk the sum is a masked product; of the chunks before, a state of head
    width by head width is all that is kept.

    Args:
        query: Shape (batch, heads, sequence, head width).
        key: As `query`.
        value: As `query`.
        chunk: Positions computed at a time; it changes the cost and not the result.

    Returns:
        As `query`.

    Example:
        >>> ones = torch.ones(1, 1, 5, 2)
        >>> bool(linear_attention(ones, ones, ones, chunk=2).allclose(ones))
        True

    Source: Katharopoulos et al. 2020, arXiv:2006.16236, equations 7 to 12.
    """
    batch, heads, sequence, width = query.shape
    query, key, value = (_in_blocks(x, chunk) for x in (query, key, value))
    query, key = F.elu(query) + 1, F.elu(key) + 1
    states = _shifted((key.transpose(-1, -2) @ value).cumsum(dim=1))
    sums = _shifted(key.sum(dim=2, keepdim=True).cumsum(dim=1))
    scores = (query @ key.transpose(-1, -2)).tril()
    weighted = scores @ value + query @ states
    total = scores.sum(dim=-1, keepdim=True) + (query * sums).sum(dim=-1, keepdim=True)
    return (weighted / total).reshape(batch, heads, -1, width)[:, :, :sequence]


def _in_blocks(x: Tensor, block: int) -> Tensor:
    """Cut into blocks, the last filled up. Shape (batch · heads, blocks, block, width)."""
    batch, heads, sequence, width = x.shape
    surplus = -sequence % block
    return F.pad(x, (0, 0, 0, surplus)).reshape(batch * heads, -1, block, width)


def _shifted(x: Tensor) -> Tensor:
    """Give each block what belongs to the one before it; zeros to the first."""
    return F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1]


def flex_attention_mask(sequence: int, window: int, device: torch.device) -> Any:
    """Blocks of the scores that FlexAttention visits under a causal window.

    Args:
        sequence: Tokens in one sequence.
        window: Positions that one position sees.
        device: Where to build it.

    Returns:
        A ``BlockMask`` of torch.
    """
    from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415 - torch >= 2.5

    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return create_block_mask(seen, None, None, sequence, sequence, device=str(device))


@cache
def _compiled_flex(sequence: int, window: int, device: torch.device) -> tuple[Any, Any]:
    """FlexAttention, compiled, and its mask; once for each shape."""
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415 - torch >= 2.5

    return torch.compile(flex_attention), flex_attention_mask(sequence, window, device)


class SelfAttention(nn.Module):  # type: ignore[misc]  # torch is not followed by the type checker
    """Causal multi-head self-attention.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.parts = [config.width, config.key_value_width, config.key_value_width]
        self.query_key_value = nn.Linear(config.width, sum(self.parts), bias=False)
        self.project = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix each position with those before it. Shape (batch, sequence, width), as `x`."""
        parts = self.query_key_value(x).split(self.parts, dim=-1)
        query, key, value = (
            part.unflatten(-1, (-1, self.config.head_width)).transpose(1, 2) for part in parts
        )
        return self.project(self._mix(query, key, value).transpose(1, 2).reshape(x.shape))

    def _mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute attention in the form that the model chose."""
        config = self.config
        if config.attention == "eager":
            return eager_attention(query, key, value)
        if config.attention == "linear":
            return linear_attention(query, key, value, config.chunk)
        if config.is_windowed:
            if _uses_flex(config, query.device):
                flex, mask = _compiled_flex(query.shape[-2], config.window, query.device)
                return flex(query, key, value, block_mask=mask)
            return windowed_attention(query, key, value, config.window)
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=config.attention == "gqa"
        )


def _uses_flex(config: ModelConfig, device: torch.device) -> bool:
    return config.is_windowed and config.compiled and device.type == "cuda"


class _Operators(TorchDispatchMode):  # type: ignore[misc]  # as above
    """Keeps the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def kernel_of(model: nn.Module, config: ModelConfig, tokens: Tensor) -> str:
    """Say which kernel computes a model's attention, having run it once.

    Args:
        model: A `Transformer`, where and in the precision it is trained in.
        config: The model's.
        tokens: A batch as in training: torch chooses by shape, too.

    Returns:
        ``flash``, ``efficient``, ``cudnn`` or ``math`` of torch's fused attention; ``eager``,
        ``chunked`` (linear) or ``flex`` where that is not used.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> from greenai.workloads.model import Transformer
        >>> config = ModelConfig(attention="linear", sequence=8, layers=1)
        >>> kernel_of(Transformer(config), config, torch.zeros(2, 8, dtype=torch.long))
        'chunked'
    """
    if config.attention in {"eager", "linear"}:
        return {"eager": "eager", "linear": "chunked"}[config.attention]
    if _uses_flex(config, tokens.device):
        return "flex"
    with _Operators() as seen:
        model(tokens)
    fused = (name for name in seen.names if "scaled_dot_product" in name)
    found = {kernel for name in fused for part, kernel in KERNELS.items() if part in name}
    return "+".join(sorted(found)) or "math"
