"""What the reference experiment compares, how large it is, and what its reader must know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from greenai.workloads.architecture import (
    ModelConfig,
    flops_per_token,
    parameters_active,
    parameters_total,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greenai.workloads.data import Text
    from greenai.workloads.schedule import Turn

BASELINE = "dense"
MEASURED = 0.995
"""Share from which energy counts as measured: it rounds to all of it."""


@dataclass(frozen=True)
class Size:
    """How large the three variants are.

    Args:
        model: The dense variant; the others differ from it in one choice.
        batch: Sequences in a batch.
        learning_rate: Of AdamW, for every variant.
    """

    model: ModelConfig
    batch: int
    learning_rate: float


QUICK = Size(ModelConfig(sequence=512, layers=2), batch=4, learning_rate=1e-3)
"""Steps of 50 to 150 ms on two CPU cores: 40 and more in six seconds."""
FULL = Size(
    ModelConfig(sequence=1024, layers=6, heads=8, width=256, feed_forward_width=1024, window=128),
    batch=8,
    learning_rate=1e-3,
)


def variants_of(base: ModelConfig) -> dict[str, ModelConfig]:
    """Name the variants: each differs from the dense one in one choice.

    Example:
        >>> list(variants_of(ModelConfig()))
        ['dense', 'moe', 'sliding_window']
    """
    return {
        BASELINE: base,
        "moe": replace(base, feed_forward="moe"),
        "sliding_window": replace(base, attention="sliding_window"),
    }


def model_facts(config: ModelConfig) -> dict[str, Any]:
    """State a model and its closed formulas, flat and ready for JSON.

    Args:
        config: The model.

    Returns:
        The model's own fields, its parameters and its FLOPs a token.

    Example:
        >>> model_facts(ModelConfig())["layers"]
        4
    """
    flops = flops_per_token(config)
    return {
        **asdict(config),
        "parameters_total": parameters_total(config),
        "parameters_active": parameters_active(config),
        "flops_per_token_executed": flops.executed,
        "flops_per_token_useful": flops.useful,
    }


def run_facts(turn: Turn, config: ModelConfig, size: Size, text: Text) -> dict[str, Any]:
    """State in the record what was trained, so that the comparison needs nothing else.

    Args:
        turn: Which run of the plan.
        config: The variant's model.
        size: Its batch and learning rate.
        text: What it is trained on.

    Returns:
        Facts ready for JSON, without any path.
    """
    return {
        "repeat": turn.repeat,
        "position": turn.position,
        "seed": turn.repeat,
        **model_facts(config),
        "batch": size.batch,
        "learning_rate": size.learning_rate,
        "text": text.source,
        "text_bytes": text.size_bytes,
        "text_sha256": text.sha256,
        "tokenizer": "bytes",
    }


def notices(
    variants: Mapping[str, ModelConfig],
    size: Size,
    *,
    planned: int,
    done: int,
    limit_s: float | None,
    measured_share: float,
) -> Iterator[str]:
    """Say what a reader of the figures must know.

    Args:
        variants: The models by name.
        size: Their batch and learning rate.
        planned: Repeats asked for.
        done: Repeats that the budget allowed.
        limit_s: The budget; None is no limit.
        measured_share: Share of the energy that was measured, not modelled; from 0 to 1.

    Yields:
        Sentences.
    """
    if measured_share < MEASURED:
        yield (
            "No energy counter is readable on this machine: its joules are time multiplied by a "
            "model of its parts, and ratios of energy are ratios of time."
            if measured_share < 1 - MEASURED
            else f"{measured_share:.0%} of the energy is measured; the rest is modelled."
        )
    if done < planned:
        yield (
            f"The time budget of {limit_s:g} s allowed {done} of {planned} repeats: the intervals "
            "are wider than planned."
        )
    if done % len(variants):
        yield (
            f"The order of the variants is not balanced after repeat {done}: a drift of the "
            "machine may favour one."
        )
    router = parameters_active(variants["moe"]) / parameters_active(variants[BASELINE]) - 1
    yield f"Variants are matched on active parameters; moe has {router:.1%} more: its router."
    yield f"Learning rates are untuned: {size.learning_rate:g} for all."
    yield "Runs are equally long: a faster variant saw more text."
    if not torch.cuda.is_available():
        yield (
            "Trained on a CPU: these ratios do not carry over to GPUs, where attention and "
            "experts run on other kernels."
        )
