"""What one reference model is: its shape and its two independent choices, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from greenai.errors import OrderError

FeedForward = Literal["dense", "moe"]
Attention = Literal["eager", "sdpa", "sliding_window", "gqa", "linear"]

FEED_FORWARDS: tuple[FeedForward, ...] = ("dense", "moe")
ATTENTIONS: tuple[Attention, ...] = ("eager", "sdpa", "sliding_window", "gqa", "linear")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one byte-level transformer, with its two independent choices.

    Widths are stated for one token: `feed_forward_width` is what a token passes through
    in either feed-forward, so that ``dense`` and ``moe`` of one width are matched on active
    parameters but for the router (an expert is `feed_forward_width / (top_k + shared_experts)`
    wide).

    Args:
        feed_forward: ``dense``, or ``moe``: each token goes to `top_k` of `experts`.
        attention: ``sdpa``: causal attention by a fused kernel; ``eager``: the same with its
            scores in memory; ``sliding_window``: each position sees itself and the `window - 1`
            before it; ``gqa``: `key_value_heads` shared by all heads; ``linear``: a positive
            feature map in place of the softmax, computed chunk by chunk.
        vocabulary: Distinct tokens; 256 for bytes.
        sequence: Tokens in one sequence.
        layers: Blocks of attention and feed-forward.
        heads: Attention heads.
        width: Size of the residual stream.
        feed_forward_width: Hidden units that one token passes through in one block.
        experts: Experts in one block that are routed to; used by ``moe``.
        top_k: Experts that one token goes to; used by ``moe``. With ``top_k=1`` and several
            experts the router learns from the balance loss alone, its gate being always 1.
        shared_experts: Experts that every token passes through besides; used by ``moe``.
        capacity_factor: Rows that an expert has room for, as a multiple of an even share; what
            finds no room is dropped, and counted. None has no limit: nothing is dropped.
        window: Positions that one position sees; used by ``sliding_window``.
        key_value_heads: Heads of keys and values; used by ``gqa``.
        chunk: Positions that ``linear`` computes at a time.
        balance_weight: Weight of the load-balancing loss; used by ``moe``.
        compiled: Whether ``sliding_window`` uses FlexAttention on a GPU, which is compiled at
            first use; it has no backward on a CPU, where blocks are used in any case.

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
    shared_experts: int = 0
    capacity_factor: float | None = None
    window: int = 64
    key_value_heads: int = 2
    chunk: int = 64
    balance_weight: float = 0.01
    compiled: bool = False

    def __post_init__(self) -> None:
        """Refuse at the desk what would fail, or mislead, in training."""
        _one_of("feed_forward", self.feed_forward, FEED_FORWARDS)
        _one_of("attention", self.attention, ATTENTIONS)
        sizes = ("vocabulary", "sequence", "layers", "heads", "width", "feed_forward_width")
        for name in (*sizes, "experts", "top_k", "window", "key_value_heads", "chunk"):
            _at_least_one(name, getattr(self, name))
        if self.width % self.heads:
            raise OrderError(
                f"width {self.width} is not a multiple of heads {self.heads}.",
                "The heads could not share the width evenly.",
                f"width={self.heads * max(1, self.width // self.heads)}, or other heads",
            )
        if self.attention == "gqa" and self.heads % self.key_value_heads:
            raise OrderError(
                f"heads {self.heads} is not a multiple of key_value_heads {self.key_value_heads}.",
                "The heads could not share keys and values evenly.",
                "give key_value_heads that divide heads",
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
        if self.shared_experts < 0:
            raise OrderError(
                f"shared_experts is {self.shared_experts}.",
                "The model cannot be built.",
                "give shared_experts of at least 0",
            )
        if self.feed_forward_width % self.experts_of_a_token:
            raise OrderError(
                f"feed_forward_width {self.feed_forward_width} is not a multiple of "
                f"top_k {self.top_k} and {self.shared_experts} shared_experts together.",
                "The experts of a token could not be matched with the dense layer.",
                f"give a feed_forward_width that {self.experts_of_a_token} divides",
            )
        if self.capacity_factor is not None and not self.capacity_factor > 0:
            raise OrderError(
                f"capacity_factor is {self.capacity_factor}.",
                "Every token would be dropped.",
                "give a capacity_factor above 0, or None for no limit",
            )

    @property
    def experts_of_a_token(self) -> int:
        """Experts that one token passes through; 1 is the dense layer."""
        return self.top_k + self.shared_experts if self.feed_forward == "moe" else 1

    @property
    def expert_width(self) -> int:
        """Hidden units of one expert, or of the dense layer."""
        return self.feed_forward_width // self.experts_of_a_token

    @property
    def head_width(self) -> int:
        """Size of one head's queries, keys and values."""
        return self.width // self.heads

    @property
    def key_value_width(self) -> int:
        """Size of all heads' keys, and of all heads' values."""
        shared = self.attention == "gqa"
        return self.head_width * (self.key_value_heads if shared else self.heads)

    @property
    def is_windowed(self) -> bool:
        """Whether the window hides anything; one as long as the sequence is full attention.

        Example:
            >>> ModelConfig(attention="sliding_window", sequence=64, window=64).is_windowed
            False
        """
        return self.attention == "sliding_window" and self.window < self.sequence


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
