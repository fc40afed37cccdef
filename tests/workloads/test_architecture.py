from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch.utils.flop_counter import FlopCounterMode

from greenai.errors import OrderError
from greenai.workloads import model as model_module
from greenai.workloads.architecture import (
    ModelConfig,
    flops_per_token,
    keys_useful,
    parameters_active,
    parameters_total,
)
from greenai.workloads.model import Transformer

if TYPE_CHECKING:
    from torch import Tensor

SMALL = ModelConfig(
    sequence=24, layers=2, heads=2, width=16, feed_forward_width=32, experts=4, window=8
)
CONFIGS = [
    SMALL,
    replace(SMALL, feed_forward="moe"),
    replace(SMALL, feed_forward="moe", top_k=4),
    replace(SMALL, attention="sliding_window"),
    replace(SMALL, attention="sliding_window", window=7),
    replace(SMALL, attention="sliding_window", window=24),
    replace(SMALL, attention="sliding_window", feed_forward="moe"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_total_parameters_are_those_of_the_module(config: ModelConfig) -> None:
    assert parameters_total(config) == sum(p.numel() for p in Transformer(config).parameters())


@pytest.mark.parametrize("config", CONFIGS)
def test_active_parameters_are_those_of_the_module_less_the_idle_experts(
    config: ModelConfig,
) -> None:
    idle_share = 1 - config.top_k / config.experts if config.feed_forward == "moe" else 0
    active = sum(
        p.numel() * (1 - idle_share if p.dim() == 3 else 1)
        for p in Transformer(config).parameters()
    )
    assert parameters_active(config) == active


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (4, 2), (8, 4)])
def test_experts_are_matched_with_dense_on_active_parameters_but_for_the_router(
    experts: int, top_k: int
) -> None:
    moe = replace(SMALL, feed_forward="moe", experts=experts, top_k=top_k)
    router = moe.layers * moe.width * experts
    assert parameters_active(moe) - router == parameters_active(SMALL) == parameters_total(SMALL)


def materialised(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Attention as two matrix products, which torch's counter is proven to count below."""
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    assert attn_mask is not None
    return scores.masked_fill(~attn_mask, float("-inf")).softmax(dim=-1) @ value


class EagerTwin:
    """torch.nn.functional with attention that can be counted."""

    scaled_dot_product_attention = staticmethod(materialised)

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)


def test_the_counter_counts_every_product_that_the_twin_is_made_of() -> None:
    a, b = torch.ones(2, 3, 4, requires_grad=True), torch.ones(2, 4, 5, requires_grad=True)
    with FlopCounterMode(display=False) as batched:
        (a @ b).sum().backward()
    with FlopCounterMode(display=False) as single:
        (a[0] @ b[0]).sum().backward()
    assert batched.get_total_flops() == 2 * single.get_total_flops() == 2 * 3 * (2 * 3 * 4 * 5)


@pytest.mark.parametrize("config", CONFIGS)
def test_executed_flops_are_what_the_counter_counts_of_the_eager_twin(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "F", EagerTwin())
    twin, tokens = Transformer(config), torch.randint(256, (3, config.sequence))
    with FlopCounterMode(display=False) as counter:
        logits, balance = twin(tokens)
        (logits.sum() + balance).backward()
    counted = counter.get_total_flops() / tokens.numel()
    assert flops_per_token(config).executed == pytest.approx(counted, rel=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_useful_keys_are_those_that_the_mask_lets_through(config: ModelConfig) -> None:
    position = torch.arange(config.sequence)
    distance = position[:, None] - position
    reach = config.window if config.attention == "sliding_window" else config.sequence
    seen = (distance >= 0) & (distance < reach)
    assert keys_useful(config) == pytest.approx(seen.sum().item() / config.sequence, rel=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_no_more_flops_are_useful_than_executed(config: ModelConfig) -> None:
    flops = flops_per_token(config)
    assert flops.useful < flops.executed


def test_cost_falls_with_the_window() -> None:
    costs = [
        flops_per_token(ModelConfig(attention="sliding_window", window=window)).executed
        for window in (16, 64, 128, 512)
    ]
    assert costs == sorted(costs)
    assert costs[-1] == flops_per_token(ModelConfig()).executed


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"feed_forward": "sparse"}, "feed_forward"),
        ({"attention": "flash"}, "attention"),
        ({"layers": 0}, "layers"),
        ({"window": -1}, "window"),
        ({"width": 130}, "heads"),
        ({"feed_forward": "moe", "top_k": 9}, "experts"),
        ({"feed_forward": "moe", "top_k": 3}, "top_k"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_with_a_hint(
    values: dict[str, Any], word: str
) -> None:
    with pytest.raises(OrderError, match=word) as refusal:
        ModelConfig(**values)
    assert refusal.value.hint
