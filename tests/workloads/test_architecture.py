from __future__ import annotations

from typing import Any

import pytest

from greenai.errors import OrderError
from greenai.workloads.architecture import ModelConfig


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"feed_forward": "sparse"}, "feed_forward"),
        ({"attention": "quadratic"}, "attention"),
        ({"layers": 0}, "layers"),
        ({"window": -1}, "window"),
        ({"width": 130}, "heads"),
        ({"feed_forward": "moe", "top_k": 9}, "experts"),
        ({"feed_forward": "moe", "top_k": 3}, "top_k"),
        ({"feed_forward": "moe", "shared_experts": 1}, "shared_experts"),
        ({"feed_forward": "moe", "shared_experts": -1}, "shared_experts"),
        ({"feed_forward": "moe", "capacity_factor": 0.0}, "capacity_factor"),
        ({"feed_forward": "moe", "capacity_factor": float("nan")}, "capacity_factor"),
        ({"attention": "gqa", "key_value_heads": 3}, "key_value_heads"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_with_a_hint(
    values: dict[str, Any], word: str
) -> None:
    with pytest.raises(OrderError, match=word) as refusal:
        ModelConfig(**values)
    assert refusal.value.hint
