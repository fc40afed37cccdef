"""A small byte-level transformer to be read and metered: two feed-forwards, two attentions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor, nn

from greenai.workloads.architecture import is_windowed

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig

INITIAL_DEVIATION = 0.02
"""Standard deviation of initial weights, as in GPT-2."""


@dataclass(frozen=True)
class Routing:
    """Where the tokens of one forward pass went, in one block.

    Args:
        load: Assignments that each expert computed. Shape (experts,).
        assignments: Assignments that the router made: `top_k` for each token.

    Example:
        >>> Routing(load=torch.tensor([3, 1]), assignments=4).dropped
        0
    """

    load: Tensor
    assignments: int

    @property
    def dropped(self) -> int:
        """Assignments that no expert computed; 0, as there is no capacity limit."""
        return self.assignments - int(self.load.sum())


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
    blocks = -(-sequence // window)
    # Positions added at the end lie in every real query's future, so that the mask hides them.
    surplus = blocks * window - sequence

    def in_blocks(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, surplus)).reshape(batch * heads, blocks, window, width)

    def with_previous(x: Tensor) -> Tensor:
        return torch.cat((F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1], x), dim=2)

    out = F.scaled_dot_product_attention(
        in_blocks(query),
        with_previous(in_blocks(key)),
        with_previous(in_blocks(value)),
        attn_mask=window_mask(blocks, window, query.device),
    )
    return out.reshape(batch, heads, blocks * window, width)[:, :, :sequence]


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


def grouped_matmul(rows: Tensor, matrices: Tensor, sizes: Tensor) -> Tensor:
    """Multiply consecutive groups of rows, each by its own matrix: one product a group.

    No row is padding: one batched product padded to the fullest group did up to four times the
    work while the router was uneven, and torch's `grouped_mm` is promised for bfloat16 on GPUs
    alone; on a CPU it took the same time as this.

    Args:
        rows: Shape (n, inner).
        matrices: Shape (groups, inner, outer).
        sizes: Rows in each group, adding up to n; a group may be empty. Shape (groups,).

    Returns:
        Shape (n, outer).

    Example:
        >>> doubled_then_tripled = torch.tensor([[[2.0]], [[3.0]]])
        >>> rows = torch.ones(3, 1)
        >>> grouped_matmul(rows, doubled_then_tripled, torch.tensor([1, 2])).flatten().tolist()
        [2.0, 3.0, 3.0]
    """
    groups = zip(rows.split(sizes.tolist()), matrices.unbind(), strict=True)
    return torch.cat([group @ matrix for group, matrix in groups])


class SelfAttention(nn.Module):  # type: ignore[misc]  # torch is not followed by the type checker
    """Causal multi-head self-attention, full or within a window.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.window = config.window if is_windowed(config) else None
        self.query_key_value = nn.Linear(config.width, 3 * config.width, bias=False)
        self.project = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix each position with those before it. Shape (batch, sequence, width), as `x`."""
        batch, sequence, width = x.shape
        heads = self.query_key_value(x).view(batch, sequence, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        if self.window is None:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = windowed_attention(query, key, value, self.window)
        return self.project(mixed.transpose(1, 2).reshape(batch, sequence, width))


class DenseFeedForward(nn.Module):  # type: ignore[misc]  # as above
    """Two matrices with GELU between.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rise = nn.Parameter(torch.empty(config.width, config.feed_forward_width))
        self.fall = nn.Parameter(torch.empty(config.feed_forward_width, config.width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform each position by itself. Shape as `x`; and the balance loss, which is 0."""
        return F.gelu(x @ self.rise) @ self.fall, x.new_zeros(())


class MixtureOfExperts(nn.Module):  # type: ignore[misc]  # as above
    """Each token through its `top_k` experts, weighted by the router's gates.

    The gates are the softmax over the chosen experts' scores. The balance loss is the
    Switch Transformer's: 1 when the experts are used evenly, `experts` when one is used alone.

    Args:
        config: The model.

    Source: Fedus, Zoph, Shazeer 2022, arXiv:2101.03961, equations 4 to 6.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.experts, self.top_k = config.experts, config.top_k
        self.router = nn.Linear(config.width, config.experts, bias=False)
        self.rise = nn.Parameter(torch.empty(config.experts, config.width, config.expert_width))
        self.fall = nn.Parameter(torch.empty(config.experts, config.expert_width, config.width))
        self.routing: Routing | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform each position by its experts. Shape as `x`; and the balance loss."""
        tokens = x.reshape(-1, x.shape[-1])
        scores = self.router(tokens)
        chosen_scores, chosen = scores.topk(self.top_k, dim=-1)
        gates = chosen_scores.softmax(dim=-1)
        load = torch.bincount(chosen.flatten(), minlength=self.experts)
        computed = self._apply_experts(tokens, chosen.flatten(), load)
        mixed = (computed.view(*chosen.shape, -1) * gates[..., None]).sum(dim=1)
        shares = load / chosen.numel()
        balance = self.experts * (shares * scores.softmax(dim=-1).mean(dim=0)).sum()
        return mixed.view_as(x), balance

    def _apply_experts(self, tokens: Tensor, chosen: Tensor, load: Tensor) -> Tensor:
        """Sort the assignments by expert, so that each expert multiplies its own in one product.

        Args:
            tokens: Shape (tokens, width).
            chosen: The expert of each assignment, token by token. Shape (tokens · top_k,).
            load: Assignments of each expert. Shape (experts,).

        Returns:
            What the expert made of the token, for each assignment. Shape (tokens · top_k, width).
        """
        self.routing = Routing(load, assignments=len(chosen))
        by_expert = chosen.argsort(stable=True)
        hidden = F.gelu(grouped_matmul(tokens[by_expert // self.top_k], self.rise, load))
        back = torch.empty_like(by_expert)
        back[by_expert] = torch.arange(len(chosen), device=chosen.device)
        return grouped_matmul(hidden, self.fall, load)[back]


class Block(nn.Module):  # type: ignore[misc]  # as above
    """Attention, then feed-forward, each normalised before and added to the stream.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=False)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, bias=False)
        is_moe = config.feed_forward == "moe"
        self.feed_forward = (MixtureOfExperts if is_moe else DenseFeedForward)(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stream after this block, shape as `x`, and the balance loss."""
        x = x + self.attention(self.attention_norm(x))
        change, balance = self.feed_forward(self.feed_forward_norm(x))
        return x + change, balance


class Transformer(nn.Module):  # type: ignore[misc]  # as above
    """A decoder-only language model over bytes.

    Args:
        config: The model. Its weights are drawn from torch's global generator.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> model = Transformer(ModelConfig(sequence=8, layers=1))
        >>> logits, balance = model(torch.zeros(2, 8, dtype=torch.long))
        >>> tuple(logits.shape)
        (2, 8, 256)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Embedding(config.sequence, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                # Each block adds twice to the stream; its last matrices are drawn smaller, so
                # that the stream's variance does not grow with depth (GPT-2, section 2.3).
                ends = name.endswith(("project.weight", "fall"))
                scale = 1 / math.sqrt(2 * config.layers) if ends else 1.0
                nn.init.normal_(parameter, std=INITIAL_DEVIATION * scale)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Predict each next token.

        Args:
            tokens: Shape (batch, sequence), integers.

        Returns:
            Logits, shape (batch, sequence, vocabulary), and the balance loss, averaged over
            the blocks; 0 without experts.
        """
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        balances = []
        for block in self.blocks:
            x, balance = block(x)
            balances.append(balance)
        return self.norm(x) @ self.token.weight.T, torch.stack(balances).mean()

    def routing(self) -> list[Routing]:
        """Tell where the last forward pass sent its tokens, block by block; empty if dense."""
        mixtures = (m for m in self.modules() if isinstance(m, MixtureOfExperts))
        return [mixture.routing for mixture in mixtures if mixture.routing is not None]
