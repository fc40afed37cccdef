"""What a reader of the reference experiment's figures must know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from greenai.workloads.design import BASIS_WORDS, mismatch
from greenai.workloads.schedule import balanced_repeats
from greenai.workloads.sweeps import rates_at_the_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.workloads.facts import Experiment

MEASURED = 0.995
"""Share from which energy counts as measured: it rounds to all of it."""
UNFUSED = frozenset({"eager", "chunked", "math"})
"""Kernels whose products and softmax are operators of their own."""


def notices(
    experiment: Experiment,
    *,
    planned: int,
    done: int,
    limit_s: float | None,
    measured_share: float,
) -> Iterator[str]:
    """Say what a reader of the figures must know.

    Args:
        experiment: What all runs share.
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
    if done < planned and limit_s is not None:
        yield (
            f"The time budget of {limit_s:g} s allowed {done} of {planned} repeats: the intervals "
            "are wider than planned."
        )
    yield from _about_order(len(experiment.variants), done)
    yield from _about_fairness(experiment)
    yield "Runs are equally long: a faster variant saw more text."
    if not torch.cuda.is_available():
        yield (
            "Trained on a CPU: these ratios do not carry over to GPUs, where attention and "
            "experts run on other kernels."
        )


def _about_order(variants: int, done: int) -> Iterator[str]:
    if done % variants:
        yield (
            f"The order of the variants is not balanced after repeat {done}: a drift of the "
            "machine may favour one."
        )
    elif done % balanced_repeats(variants):
        yield (
            f"After repeat {done} each variant has had each place equally often, but not each "
            "predecessor: what a run leaves behind may favour one."
        )


def _about_fairness(experiment: Experiment) -> Iterator[str]:
    base, match = experiment.size.model, experiment.match
    apart = mismatch(experiment.variants, base, match)
    listed = ", ".join(f"{name} {share:+.1%}" for name, share in apart.items() if name != "dense")
    basis = BASIS_WORDS[match]
    yield f"Variants are matched on {basis} with a dense model by their feed-forward: {listed}."
    rates = experiment.learning_rates
    if experiment.tuned:
        rated = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        yield f"Learning rates are the best of an equal sweep of every variant: {rated}."
        if at_edge := rates_at_the_edge(experiment.rate_losses_nats):
            yield (
                f"The best learning rate tried is the least or the greatest for "
                f"{', '.join(at_edge)}: a better one may lie beyond."
            )
    else:
        yield f"Learning rates are untuned: {experiment.size.learning_rate:g} for all."
    kernels = experiment.kernels
    unfused = [f"{name} ({kernel})" for name, kernel in kernels.items() if kernel in UNFUSED]
    if unfused and len(unfused) < len(kernels):
        yield (
            f"Attention of {', '.join(unfused)} runs on no fused kernel, that of the others does: "
            "part of the difference is the kernel."
        )
