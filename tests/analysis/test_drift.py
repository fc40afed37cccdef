"""Laws of the position effect: ordinary least squares, and unknown where the order is mute."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from greenai.analysis.drift import position_effect

RNG = np.random.default_rng(8)


def test_one_variant_without_pairs_is_a_line_through_its_logs() -> None:
    values = np.exp(RNG.normal(0, 0.1, 9))
    effect = position_effect(values.tolist(), list(range(9)), ["a"] * 9, [None] * 9)
    expected = stats.linregress(np.arange(9), np.log(values))
    half = stats.t.isf(0.025, 7) * expected.stderr
    assert effect.df == 7
    assert (effect.per_place, effect.low, effect.high) == pytest.approx(
        tuple(np.expm1([expected.slope, expected.slope - half, expected.slope + half]))
    )


def test_two_variants_in_pairs_are_a_line_through_their_differences() -> None:
    offsets = np.array([1, -1, -1, 1, 1, -1, 2])
    first, second = np.exp(RNG.normal(0, 0.1, (2, 7)))
    values, places = [*first, *second], [*np.maximum(-offsets, 0), *np.maximum(offsets, 0)]
    pairs: list[str | None] = [*"abcdefg", *"abcdefg"]
    effect = position_effect(values, [int(p) for p in places], ["A"] * 7 + ["B"] * 7, pairs)
    expected = stats.linregress(offsets, np.log(second) - np.log(first))
    half = stats.t.isf(0.025, 5) * expected.stderr
    assert effect.df == 5
    assert (effect.low, effect.high) == pytest.approx(
        tuple(np.expm1([expected.slope - half, expected.slope + half]))
    )


@pytest.mark.parametrize(
    ("values", "positions", "pairs"),
    [
        ([1.0, 2, 3, 4], [0, 0, 1, 1], [None] * 4),
        ([1.0, 2, 3, 4], [0, 1, 2, None], [None] * 4),
        ([1.0, math.nan, 3, 4], [0, 1, 2, 3], [None] * 4),
        ([1.0, 2, 3, 4], [0, 1, 1, 0], ["x", "y", "x", "y"]),
        ([1.0, 2, 3, 4], [5, 5, 5, 5], [None] * 4),
    ],
    ids=["all of A first", "place unknown", "value unknown", "nothing left to scatter", "no order"],
)
def test_what_an_order_does_not_say_is_unknown(
    values: list[float], positions: list[int | None], pairs: list[str | None]
) -> None:
    assert math.isnan(position_effect(values, positions, list("AABB"), pairs).per_place)
