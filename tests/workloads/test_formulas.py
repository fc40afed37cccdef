from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from greenai.workloads import attention as attention_module
from greenai.workloads import experts as experts_module
from greenai.workloads.architecture import ModelConfig
from greenai.workloads.attention import eager_attention, flex_attention_mask, kernel_of
from greenai.workloads.experts import product_by_product
from greenai.workloads.formulas import (
    flops_per_token,
    keys_executed,
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
    replace(SMALL, attention="eager"),
    replace(SMALL, attention="gqa", key_value_heads=1),
    replace(SMALL, attention="linear", chunk=8),
    replace(SMALL, attention="linear", chunk=7),
    replace(SMALL, feed_forward="moe", top_k=3, shared_experts=1),
    # 24 tokens of 3 sequences to 2 of 4 experts: 36 rows an even share, so that nothing is rounded.
    replace(SMALL, feed_forward="moe", capacity_factor=1.25),
    replace(SMALL, feed_forward="moe", capacity_factor=0.5),
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
    enable_gqa: bool = False,
) -> Tensor:
    """Attention as two matrix products, which torch's counter is proven to count below."""
    if enable_gqa:
        shared = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    if is_causal:
        return eager_attention(query, key, value)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    assert attn_mask is not None
    return scores.masked_fill(~attn_mask, float("-inf")).softmax(dim=-1) @ value


class EagerTwin:
    """torch.nn.functional with attention that can be counted."""

    scaled_dot_product_attention = staticmethod(materialised)

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)


COUNTED = {"aten.mm.default", "aten.bmm.default"}
"""Products that the counter is proven to count, below."""
WITHOUT_PRODUCTS = set(
    """
    _softmax _softmax_backward_data _to_copy _unsafe_view add add_ alias arange bitwise_and
    bitwise_not bitwise_or cat clone constant_pad_nd cumsum detach div elu elu_backward
    embedding embedding_dense_backward empty_like expand flip floor_divide ge gelu gelu_backward
    gt index index_copy index_put index_put_ index_select lt masked_fill mean mul
    native_layer_norm native_layer_norm_backward neg new_zeros ones ones_like permute
    scalar_tensor scatter scatter_add_ select slice slice_backward sort split_with_sizes squeeze
    stack sub sum t topk transpose tril unbind unsqueeze view where zeros
    """.split()  # noqa: SIM905 - a hundred quotes say no more
)
"""Operators that multiply no matrices."""


class Refusing(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed
    """Lets no operator run that the counter may not know."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if str(func) not in COUNTED and func._schema.name.split("::")[1] not in WITHOUT_PRODUCTS:
            raise AssertionError(f"{func} runs, and is not proven to be counted")
        return func(*args, **(kwargs or {}))


def counted_flops(model: torch.nn.Module, tokens: Tensor) -> float:
    """FLOPs of forward and backward a token."""
    with FlopCounterMode(display=False) as counter, Refusing():
        logits, balance = model(tokens)
        (logits.sum() + balance).backward()
    return float(counter.get_total_flops() / tokens.numel())


@pytest.fixture
def _eager_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_module, "F", EagerTwin())
    monkeypatch.setattr(experts_module, "grouped_matmul", product_by_product)


def test_the_counter_counts_every_product_that_the_twin_is_made_of() -> None:
    a, b = torch.ones(2, 3, 4, requires_grad=True), torch.ones(2, 4, 5, requires_grad=True)
    with FlopCounterMode(display=False) as batched:
        (a @ b).sum().backward()
    with FlopCounterMode(display=False) as single:
        (a[0] @ b[0]).sum().backward()
    assert batched.get_total_flops() == 2 * single.get_total_flops() == 2 * 3 * (2 * 3 * 4 * 5)


@pytest.mark.usefixtures("_eager_twin")
@pytest.mark.parametrize("config", CONFIGS)
def test_executed_flops_are_what_the_counter_counts_of_the_eager_twin(config: ModelConfig) -> None:
    counted = counted_flops(Transformer(config), torch.randint(256, (3, config.sequence)))
    assert flops_per_token(config, "math").executed == pytest.approx(counted, rel=1e-12)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, feed_forward="moe", attention="linear")])
def test_an_operator_that_is_not_counted_is_an_error_and_not_zero(config: ModelConfig) -> None:
    Transformer(config)(torch.zeros(1, config.sequence, dtype=torch.long))  # tries its products
    with pytest.raises(AssertionError, match=r"scaled_dot_product|grouped_mm"):
        counted_flops(Transformer(config), torch.randint(256, (3, config.sequence)))


def test_a_fused_kernel_executes_half_the_scores_and_computes_them_again() -> None:
    scores = 2 * 2 * SMALL.layers * SMALL.width * (SMALL.sequence + 1) / 2
    fused, laid_out = flops_per_token(SMALL, "flash"), flops_per_token(SMALL, "math")
    assert fused.useful == laid_out.useful
    assert fused.executed - fused.useful == pytest.approx(scores / 2)


@pytest.mark.parametrize(("sequence", "window"), [(1024, 128), (1024, 129), (512, 64), (512, 300)])
def test_the_keys_of_flex_attention_are_those_of_the_blocks_that_it_visits(
    sequence: int, window: int
) -> None:
    config = ModelConfig(attention="sliding_window", sequence=sequence, window=window)
    mask = flex_attention_mask(sequence, window, torch.device("cpu"))
    blocks = int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum())
    assert keys_executed(config, "flex") == blocks * 128 * 128 / sequence


@pytest.mark.parametrize(
    ("config", "kernel"),
    [
        (SMALL, "flash"),
        (replace(SMALL, attention="gqa", key_value_heads=1), "flash"),
        (replace(SMALL, attention="sliding_window"), "flash"),
        (replace(SMALL, attention="linear"), "chunked"),
        (replace(SMALL, attention="eager"), "eager"),
    ],
)
def test_the_kernel_that_ran_is_known(config: ModelConfig, kernel: str) -> None:
    tokens = torch.randint(256, (2, config.sequence))
    assert kernel_of(Transformer(config), config, tokens) == kernel


@pytest.mark.usefixtures("_eager_twin")
def test_attention_without_a_fused_kernel_is_said_to_be_math() -> None:
    assert kernel_of(Transformer(SMALL), SMALL, torch.randint(256, (2, 24))) == "math"


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.attention != "linear"])
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
