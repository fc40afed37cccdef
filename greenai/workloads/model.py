"""A small byte-level transformer to be read and metered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from greenai.workloads.attention import SelfAttention
from greenai.workloads.experts import DenseFeedForward, MixtureOfExperts

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.experts import Routing

INITIAL_DEVIATION = 0.02
"""Standard deviation of initial weights, as in GPT-2."""


class Block(nn.Module):  # type: ignore[misc]  # torch is not followed by the type checker
    """Attention, then feed-forward, each normalised before and added to the stream.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=False)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, bias=False)
        self.feed_forward = (
            MixtureOfExperts(config)
            if config.feed_forward == "moe"
            else DenseFeedForward(config.width, config.feed_forward_width)
        )

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

    def routings(self) -> list[Routing]:
        """Tell where the tokens of all training steps went, block by block; empty if dense."""
        return [m.routing for m in self.modules() if isinstance(m, MixtureOfExperts)]
