from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses

from greenai.workloads.architecture import ATTENTIONS, FEED_FORWARDS, ModelConfig
from greenai.workloads.model import Transformer

if TYPE_CHECKING:
    from greenai.workloads.architecture import Attention, FeedForward

SMALL = ModelConfig(
    sequence=20, layers=2, heads=2, width=16, feed_forward_width=32, experts=4, window=6
)
MOE = replace(SMALL, feed_forward="moe")


def drawn(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("window", [20, 21, 500])
def test_a_window_as_long_as_the_sequence_is_full_attention(window: int) -> None:
    full = drawn(Transformer(SMALL))
    near = drawn(Transformer(replace(SMALL, attention="sliding_window", window=window)))
    tokens = torch.randint(256, (3, SMALL.sequence))
    torch.testing.assert_close(full(tokens)[0], near(tokens)[0])


def test_a_shorter_window_is_not_full_attention() -> None:
    full = drawn(Transformer(SMALL))
    near = drawn(Transformer(replace(SMALL, attention="sliding_window")))
    tokens = torch.randint(256, (3, SMALL.sequence))
    first_hidden = SMALL.window
    a, b = full(tokens)[0], near(tokens)[0]
    torch.testing.assert_close(a[:, :first_hidden], b[:, :first_hidden])
    assert not torch.allclose(a[:, first_hidden:], b[:, first_hidden:])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("feed_forward", FEED_FORWARDS)
def test_no_position_sees_a_later_one(attention: Attention, feed_forward: FeedForward) -> None:
    config = replace(SMALL, attention=attention, feed_forward=feed_forward, chunk=4)
    model = drawn(Transformer(config)).double()
    tokens = torch.randint(256, (1, SMALL.sequence))
    changed = tokens.clone()
    changed[0, 11:] = (changed[0, 11:] + 1) % 256
    torch.testing.assert_close(model(tokens)[0][:, :11], model(changed)[0][:, :11])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("feed_forward", FEED_FORWARDS)
def test_every_parameter_gets_a_gradient(attention: Attention, feed_forward: FeedForward) -> None:
    model = drawn(Transformer(replace(MOE, attention=attention, feed_forward=feed_forward)))
    logits, balance = model(torch.randint(256, (3, SMALL.sequence)))
    (logits.square().mean() + balance).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("attention", ["eager", "gqa"])
def test_another_kernel_or_a_head_of_keys_for_each_head_is_the_same_model(
    attention: Attention,
) -> None:
    config = replace(SMALL, attention=attention, key_value_heads=SMALL.heads)
    tokens = torch.randint(256, (2, SMALL.sequence))
    same = drawn(Transformer(config))(tokens)[0]
    torch.testing.assert_close(same, drawn(Transformer(SMALL))(tokens)[0])


def test_every_assignment_of_every_training_step_and_block_is_counted() -> None:
    model = drawn(Transformer(MOE))
    for batch in (3, 2):
        model(torch.randint(256, (batch, SMALL.sequence)))
    model.eval()
    model(torch.randint(256, (1, SMALL.sequence)))
    assert len(model.routings()) == MOE.layers
    for routing in model.routings():
        assert routing.load.sum().item() == (3 + 2) * SMALL.sequence * MOE.top_k
        assert routing.dropped == 0
    assert Transformer(SMALL).routings() == []


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("capacity_factor", [None, 1.25])
def test_it_trains_in_bfloat16_where_products_are_asked_to_be(
    attention: Attention, capacity_factor: float | None
) -> None:
    model = drawn(Transformer(replace(MOE, attention=attention, capacity_factor=capacity_factor)))
    tokens = torch.randint(256, (2, SMALL.sequence))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, balance = model(tokens)
        (logits.float().logsumexp(-1).mean() + balance).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_an_untrained_model_is_as_good_as_a_uniform_guess() -> None:
    torch.manual_seed(0)
    for config in (MOE, *(replace(SMALL, attention=attention) for attention in ATTENTIONS)):
        tokens, targets = torch.randint(256, (2, 16, SMALL.sequence))
        logits, _ = Transformer(config)(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
        assert loss == pytest.approx(torch.tensor(256.0).log().item(), abs=0.1)
