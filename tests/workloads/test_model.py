from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor

from greenai.workloads.architecture import ModelConfig
from greenai.workloads.model import (
    DenseFeedForward,
    MixtureOfExperts,
    Transformer,
    windowed_attention,
)

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


def masked_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    position = torch.arange(query.shape[-2])
    distance = position[:, None] - position
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    hidden = (distance < 0) | (distance >= window)
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1) @ value


@pytest.mark.parametrize("sequence", [1, 7, 12, 32])
@pytest.mark.parametrize("window", [1, 3, 4, 12, 40])
def test_blocked_window_is_masked_full_attention_forward_and_backward(
    sequence: int, window: int
) -> None:
    torch.manual_seed(sequence * 100 + window)
    shape = (2, 3, sequence, 8)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    direction = torch.randn(shape, dtype=torch.float64)
    results = []
    query, key, value = inputs
    for attention in (windowed_attention, masked_attention):
        out = attention(query, key, value, window)
        results.append((out, *torch.autograd.grad(out, inputs, direction)))
    for blocked, full in zip(*results, strict=True):
        torch.testing.assert_close(blocked, full, rtol=1e-9, atol=1e-12)


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


@pytest.mark.parametrize("attention", ["sdpa", "sliding_window"])
@pytest.mark.parametrize("feed_forward", ["dense", "moe"])
def test_no_position_sees_a_later_one(attention: Attention, feed_forward: FeedForward) -> None:
    config = replace(SMALL, attention=attention, feed_forward=feed_forward)
    model = drawn(Transformer(config))
    tokens = torch.randint(256, (1, SMALL.sequence))
    changed = tokens.clone()
    changed[0, 11:] = (changed[0, 11:] + 1) % 256
    torch.testing.assert_close(model(tokens)[0][:, :11], model(changed)[0][:, :11])


def test_one_expert_is_the_dense_layer_forward_and_backward() -> None:
    config = replace(MOE, experts=1, top_k=1)
    dense, moe = drawn(DenseFeedForward(config)), drawn(MixtureOfExperts(config))
    with torch.no_grad():
        moe.rise[0].copy_(dense.rise)
        moe.fall[0].copy_(dense.fall)
    x = torch.randn(2, 5, SMALL.width)
    (out, _), (mixed, balance) = dense(x), moe(x)
    torch.testing.assert_close(mixed, out)
    assert balance.item() == pytest.approx(1)
    out.square().sum().backward()
    mixed.square().sum().backward()
    torch.testing.assert_close(moe.rise.grad[0], dense.rise.grad)
    torch.testing.assert_close(moe.fall.grad[0], dense.fall.grad)
    assert not moe.router.weight.grad.abs().max() > 1e-6


def token_by_token(moe: MixtureOfExperts, x: Tensor) -> Tensor:
    """Say what a mixture of experts is, one token after the other."""
    out = []
    for token in x.reshape(-1, x.shape[-1]):
        scores = moe.router.weight @ token
        best = scores.argsort(descending=True)[: moe.top_k]
        gates = scores[best].exp() / scores[best].exp().sum()
        parts = [F.gelu(token @ moe.rise[e]) @ moe.fall[e] for e in best]
        out.append(sum(gate * part for gate, part in zip(gates, parts, strict=True)))
    return torch.stack(out).view_as(x)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_grouped_experts_are_the_experts_token_by_token(top_k: int) -> None:
    moe = drawn(MixtureOfExperts(replace(MOE, top_k=top_k))).double()
    x = torch.randn(3, 7, SMALL.width, dtype=torch.float64)
    direction = torch.randn_like(x)
    weights = list(moe.parameters())
    mixed, said = moe(x)[0], token_by_token(moe, x)
    torch.testing.assert_close(mixed, said, rtol=1e-9, atol=1e-12)
    grads = torch.autograd.grad(mixed, weights, direction)
    for grouped, single in zip(grads, torch.autograd.grad(said, weights, direction), strict=True):
        torch.testing.assert_close(grouped, single, rtol=1e-9, atol=1e-12)


def test_no_token_is_dropped_however_uneven_the_router() -> None:
    moe = drawn(MixtureOfExperts(replace(MOE, top_k=2)))
    with torch.no_grad():
        moe.router.weight.copy_(torch.tensor([3.0, 2.0, -1.0, -2.0])[:, None])
    x = torch.rand(4, 9, SMALL.width)
    mixed, balance = moe(x)
    torch.testing.assert_close(mixed, token_by_token(moe, x))
    assert moe.routing is not None
    assert moe.routing.load.tolist() == [36, 36, 0, 0]
    assert moe.routing.dropped == 0
    assert balance.item() == pytest.approx(2, rel=0.1)


def test_every_assignment_of_every_block_is_counted() -> None:
    model = drawn(Transformer(MOE))
    model(torch.randint(256, (3, SMALL.sequence)))
    routings = model.routing()
    assert len(routings) == MOE.layers
    for routing in routings:
        assert routing.load.sum().item() == routing.assignments == 3 * SMALL.sequence * MOE.top_k
        assert routing.dropped == 0
    assert Transformer(SMALL).routing() == []


def test_the_balance_loss_is_one_when_experts_are_used_evenly_and_pulls_towards_it() -> None:
    moe = drawn(MixtureOfExperts(MOE))
    x = torch.randn(8, 20, SMALL.width)
    optimizer = torch.optim.SGD(moe.router.parameters(), lr=0.2)
    first = moe(x)[1].item()
    for _ in range(60):
        optimizer.zero_grad()
        moe(x)[1].backward()
        optimizer.step()
    last = moe(x)[1].item()
    assert 1 - 1e-2 < last < first


def test_an_untrained_model_is_as_good_as_a_uniform_guess() -> None:
    torch.manual_seed(0)
    for config in (SMALL, MOE, replace(SMALL, attention="sliding_window")):
        tokens, targets = torch.randint(256, (2, 16, SMALL.sequence))
        logits, _ = Transformer(config)(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
        assert loss == pytest.approx(torch.tensor(256.0).log().item(), abs=0.1)
