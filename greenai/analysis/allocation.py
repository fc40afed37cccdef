"""Size and tokens that reach a loss with the least energy, or the least loss within a budget."""

from __future__ import annotations

import dataclasses
import math

from greenai.errors import OrderError

IRREDUCIBLE, IRREDUCIBLE_SE = 1.8172, 0.03
SIZE_FACTOR = 482.01
TOKEN_FACTOR = 2085.43
SIZE_EXPONENT = 0.3478
TOKEN_EXPONENT = 0.3658
SIZE_SHARE_SE = 0.02
"""Standard error of the exponent a of the best size, N ~ C^a."""
SOURCE = (
    "Besiroglu, Erdil, Barnett, You 2024, arXiv:2404.10102: E 1.8172 (SE 0.03), A 482.01 (124.58), "
    "B 2085.43 (1293.23), alpha 0.3478 (0.02), beta 0.3658 (0.02), a 0.5126 (0.02)"
)
PIVOT_FLOPS = 6 * math.sqrt(70e6 * 16e9) * math.sqrt(5e9 * 500e9)
"""Geometric middle of the runs that were fitted: 70M to 16B parameters, 5 to 500 billion tokens
(arXiv:2203.15556, abstract). There the exponent's error moves nothing."""
FITTED_FLOPS = (6 * 70e6 * 5e9, 6 * 16e9 * 500e9)
Z95 = 1.96

NOTES = (
    f"Scaling law of dense transformers, {SOURCE}.",
    (
        "It was fitted to one tokenizer and one kind of text: losses of others are not comparable, "
        "differences are."
    ),
    (
        "The interval of the loss is that of E alone, the interval of size and tokens that of the "
        "exponent, turning about the middle of the fitted runs: A and B have errors published "
        "without their covariance, which are not in it: it is a lower bound."
    ),
    "With joules per FLOP constant, the least energy is the least FLOPs: 6 x parameters x tokens.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Allocation:
    """The best dense model for a number of FLOPs; low and high are 95 % of a lower bound.

    Attributes:
        flops: Training FLOPs, 6 x parameters x tokens.
        parameters: Best size.
        parameters_low: With the exponent two standard errors off, one way.
        parameters_high: The other way.
        tokens: Tokens that go with it.
        tokens_low: With the greatest size.
        tokens_high: With the smallest size.
        loss_nats: Loss per token that the law gives.
        loss_low_nats: With E two standard errors lower.
        loss_high_nats: With E two standard errors higher.
        extrapolated: Whether the FLOPs lie outside of the fitted runs.
    """

    flops: float
    parameters: float
    parameters_low: float
    parameters_high: float
    tokens: float
    tokens_low: float
    tokens_high: float
    loss_nats: float
    loss_low_nats: float
    loss_high_nats: float
    extrapolated: bool


def loss_nats(parameters: float, tokens: float) -> float:
    """Loss per token of a dense transformer: E + A / N^alpha + B / D^beta.

    Example:
        >>> round(loss_nats(70e9, 1.4e12), 3)
        1.974

    Source: arXiv:2404.10102.
    """
    by_size = SIZE_FACTOR / parameters**SIZE_EXPONENT
    return float(IRREDUCIBLE + by_size + TOKEN_FACTOR / tokens**TOKEN_EXPONENT)


def best_for_flops(flops: float) -> Allocation:
    """Size and tokens of the least loss for a number of FLOPs.

    At the optimum alpha A / N^alpha = beta B / D^beta, with 6 N D = FLOPs.

    Args:
        flops: Training FLOPs.

    Raises:
        OrderError: FLOPs are not above 0.

    Example:
        >>> best = best_for_flops(5.76e23)
        >>> round(best.parameters / 1e9, 1), round(best.tokens / best.parameters, 1)
        (72.2, 18.4)
    """
    if not 0 < flops < math.inf:
        raise OrderError(
            f"The budget is {flops:g} FLOPs.", "Nothing can be trained.", "give a budget above 0"
        )
    both = SIZE_EXPONENT + TOKEN_EXPONENT
    ratio = SIZE_EXPONENT * SIZE_FACTOR / (TOKEN_EXPONENT * TOKEN_FACTOR)
    size = ratio ** (1 / both) * (flops / 6) ** (TOKEN_EXPONENT / both)
    tokens = flops / 6 / size
    stretch = math.exp(Z95 * SIZE_SHARE_SE * abs(math.log(flops / PIVOT_FLOPS)))
    loss = loss_nats(size, tokens)
    return Allocation(
        flops=flops,
        parameters=size,
        parameters_low=size / stretch,
        parameters_high=size * stretch,
        tokens=tokens,
        tokens_low=tokens / stretch,
        tokens_high=tokens * stretch,
        loss_nats=loss,
        loss_low_nats=loss - Z95 * IRREDUCIBLE_SE,
        loss_high_nats=loss + Z95 * IRREDUCIBLE_SE,
        extrapolated=not FITTED_FLOPS[0] <= flops <= FITTED_FLOPS[1],
    )


def flops_for_loss(target_nats: float) -> tuple[float, float, float]:
    """Fewest FLOPs that reach a loss: low, mid and high by the error of E.

    Args:
        target_nats: Loss per token.

    Returns:
        FLOPs. High is infinite where the loss lies within the error of what no model gets below.

    Raises:
        OrderError: No model reaches the loss.

    Example:
        >>> low, mid, high = flops_for_loss(2.2)
        >>> low < mid < high
        True
    """
    if not IRREDUCIBLE < target_nats < math.inf:
        raise OrderError(
            f"A loss of {target_nats:g} nats a token is not above {IRREDUCIBLE}.",
            "By this scaling law no model gets there, whatever its energy.",
            f"give a loss above {IRREDUCIBLE}",
        )
    above = target_nats - IRREDUCIBLE
    width = Z95 * IRREDUCIBLE_SE
    return _flops(above + width), _flops(above), _flops(above - width)


def _flops(above_nats: float) -> float:
    """FLOPs of the best model whose loss is that far above the irreducible."""
    if above_nats <= 0:
        return math.inf
    by_size = above_nats * TOKEN_EXPONENT / (SIZE_EXPONENT + TOKEN_EXPONENT)
    size = (SIZE_FACTOR / by_size) ** (1 / SIZE_EXPONENT)
    tokens = (TOKEN_FACTOR / (above_nats - by_size)) ** (1 / TOKEN_EXPONENT)
    return float(6 * size * tokens)
