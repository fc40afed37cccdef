"""What the reference experiment compares: sizes, variants, and what makes them comparable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError
from greenai.workloads.architecture import ModelConfig
from greenai.workloads.formulas import flops_per_token, parameters_active, parameters_total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MIB = 1 << 20
WIDTH_STEP = 8
"""Widths of experts are multiples of this: 16 bytes of bfloat16, which grouped products ask for."""

CHOICES: dict[str, dict[str, Any]] = {
    "dense": {},
    "moe": {"feed_forward": "moe"},
    "moe_shared": {"feed_forward": "moe", "shared_experts": 1},
    "moe_capacity": {"feed_forward": "moe", "capacity_factor": 1.25},
    "eager": {"attention": "eager"},
    "sliding_window": {"attention": "sliding_window"},
    "gqa": {"attention": "gqa"},
    "linear": {"attention": "linear"},
}
"""Variants by name: how each differs from a dense model with fused attention."""
DEFAULT_VARIANTS = ("dense", "moe", "sliding_window")
ATTENTION_VARIANTS = ("dense", "sliding_window", "gqa", "linear")
"""What a sweep over sequence lengths compares where nothing else is asked for."""

BASES: dict[str, Callable[[ModelConfig], float]] = {
    "active-params": parameters_active,
    "total-params": parameters_total,
    "flops": lambda config: flops_per_token(config).useful,
}
"""What variants can be matched on; ``flops`` are the useful ones, which no kernel changes."""
BASIS_WORDS = {
    "active-params": "active parameters",
    "total-params": "total parameters",
    "flops": "useful FLOPs a token",
}


@dataclass(frozen=True)
class Size:
    """How large the variants are and how long they are trained.

    Args:
        name: As the user names it.
        model: The dense variant; the others differ from it by choice.
        batch: Sequences in a batch.
        learning_rate: Of AdamW, for every variant where no sweep finds another.
        seconds: Length of a run after its warm-up.
        warmup_s: Time at the start of a run that is recorded and not compared.
        text_bytes: Text that is read at most.
        rate_steps: Steps of one run of a sweep over learning rates.
    """

    name: str
    model: ModelConfig
    batch: int
    learning_rate: float
    seconds: float
    warmup_s: float
    text_bytes: int
    rate_steps: int


QUICK = Size("quick", ModelConfig(sequence=512, layers=2), 4, 1e-3, 6.0, 1.5, 4 * MIB, 60)
"""Steps of 50 to 150 ms on two CPU cores: 40 and more in six seconds."""
SIZES = {
    size.name: size
    for size in (
        QUICK,
        Size(
            "small",
            ModelConfig(
                sequence=1024,
                layers=6,
                heads=8,
                width=256,
                feed_forward_width=1024,
                window=128,
                compiled=True,
            ),
            batch=8,
            learning_rate=1e-3,
            seconds=20.0,
            warmup_s=5.0,
            text_bytes=16 * MIB,
            rate_steps=200,
        ),
        Size(
            "medium",
            ModelConfig(
                sequence=2048,
                layers=12,
                heads=12,
                width=768,
                feed_forward_width=3072,
                window=256,
                key_value_heads=4,
                compiled=True,
            ),
            batch=16,
            learning_rate=6e-4,
            seconds=60.0,
            warmup_s=20.0,
            text_bytes=64 * MIB,
            rate_steps=300,
        ),
        Size(
            "large",
            ModelConfig(
                sequence=4096,
                layers=24,
                heads=16,
                width=1536,
                feed_forward_width=6144,
                window=512,
                key_value_heads=4,
                compiled=True,
            ),
            batch=8,
            learning_rate=3e-4,
            seconds=120.0,
            warmup_s=60.0,
            text_bytes=256 * MIB,
            rate_steps=300,
        ),
    )
}
"""From seconds on two CPU cores to minutes a run on a GPU. ``medium`` and ``large`` are made for
one; the greatest, ``moe`` of ``large``, has 2.0 billion parameters: 32 GB with AdamW's state."""


def variants_of(
    base: ModelConfig, names: Sequence[str] = DEFAULT_VARIANTS, match: str = "active-params"
) -> dict[str, ModelConfig]:
    """Make the variants comparable with a dense model by the width of their feed-forward.

    Args:
        base: The dense model, which every variant is matched with.
        names: Of `CHOICES`; two that choose different things are joined: ``moe+linear``.
        match: Basis of the comparison, of `BASES`.

    Returns:
        The models by name.

    Raises:
        OrderError: A name or basis is unknown or given twice, or no width fits.

    Example:
        >>> list(variants_of(ModelConfig()))
        ['dense', 'moe', 'sliding_window']
        >>> variants_of(ModelConfig(), ["gqa"])["gqa"].feed_forward_width
        576
    """
    if match not in BASES:
        raise OrderError(
            f"match {match!r} is unknown.", "Nothing was trained.", f"one of: {', '.join(BASES)}"
        )
    twice = {name for name in names if list(names).count(name) > 1}
    if twice or not names:
        raise OrderError(
            f"variants are {', '.join(names) or 'none'}.",
            "A comparison needs each of them once.",
            "name each variant once",
        )
    return {name: matched(replace(base, **_choice(name)), base, match) for name in names}


def _choice(name: str) -> dict[str, Any]:
    """Fields in which a variant differs from the dense model."""
    fields: dict[str, Any] = {"feed_forward_width": 0}
    for part in name.split("+"):
        if part not in CHOICES or (set(CHOICES[part]) & set(fields)):
            raise OrderError(
                f"variant {name!r} is unknown.",
                "Nothing was trained.",
                f"one of: {', '.join(CHOICES)}; a feed-forward and an attention as moe+linear",
            )
        fields |= CHOICES[part]
    del fields["feed_forward_width"]
    together = fields.get("shared_experts", 0) + ModelConfig.top_k
    return {"feed_forward_width": WIDTH_STEP * together, **fields}


def matched(config: ModelConfig, base: ModelConfig, match: str) -> ModelConfig:
    """Set a model's feed-forward width so that it equals another on a basis.

    Args:
        config: Its width is left out of account.
        base: What it is matched with.
        match: Of `BASES`.

    Returns:
        The model whose experts are a multiple of 8 wide and that comes nearest.

    Raises:
        OrderError: Even the narrowest is larger than the base.

    Example:
        >>> moe = matched(ModelConfig(feed_forward="moe"), ModelConfig(), "total-params")
        >>> moe.feed_forward_width, moe.expert_width
        (128, 64)
    """
    basis, unit = BASES[match], WIDTH_STEP * config.experts_of_a_token
    one, two = (basis(replace(config, feed_forward_width=unit * count)) for count in (1, 2))
    count = 1 + round((basis(base) - one) / (two - one))
    if count < 1:
        raise OrderError(
            f"No width matches {config.feed_forward} with {config.attention} to the dense model "
            f"on {BASIS_WORDS[match]}.",
            "The comparison would not be fair on that basis.",
            "match on another basis, or take a larger size",
        )
    return replace(config, feed_forward_width=unit * count)


def mismatch(
    variants: Mapping[str, ModelConfig], base: ModelConfig, match: str
) -> dict[str, float]:
    """How far each variant is from the dense model on the basis; 0.01 is one percent more.

    Example:
        >>> base = ModelConfig()
        >>> mismatch(variants_of(base), base, "active-params")["sliding_window"]
        0.0
    """
    basis = BASES[match]
    return {name: basis(config) / basis(base) - 1 for name, config in variants.items()}
