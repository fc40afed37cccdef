from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor

from greenai.workloads import experts as experts_module
from greenai.workloads.architecture import ModelConfig
from greenai.workloads.experts import (
    DenseFeedForward,
    MixtureOfExperts,
    grouped_matmul,
    is_grouped_product_right,
    product_by_product,
)

MOE = ModelConfig(
    "moe", sequence=20, layers=2, heads=2, width=16, feed_forward_width=32, experts=4, window=6
)


def drawn(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def test_one_expert_is_the_dense_layer_forward_and_backward() -> None:
    dense = drawn(DenseFeedForward(16, 32))
    moe = drawn(MixtureOfExperts(replace(MOE, experts=1, top_k=1)))
    with torch.no_grad():
        moe.rise[0].copy_(dense.rise)
        moe.fall[0].copy_(dense.fall)
    x = torch.randn(2, 5, MOE.width)
    (out, _), (mixed, balance) = dense(x), moe(x)
    torch.testing.assert_close(mixed, out)
    assert balance.item() == pytest.approx(1)
    out.square().sum().backward()
    mixed.square().sum().backward()
    torch.testing.assert_close(moe.rise.grad[0], dense.rise.grad)
    torch.testing.assert_close(moe.fall.grad[0], dense.fall.grad)
    assert not moe.router.weight.grad.abs().max() > 1e-6


def token_by_token(moe: MixtureOfExperts, x: Tensor, room: float = float("inf")) -> Tensor:
    """Say what a mixture of experts is, one token after the other; the first come find room."""
    out = []
    taken = [0] * moe.experts
    for token in x.reshape(-1, x.shape[-1]):
        scores = moe.router.weight @ token
        best = scores.argsort(descending=True)[: moe.top_k]
        gates = scores[best].exp() / scores[best].exp().sum()
        mixed = torch.zeros_like(token) if moe.shared is None else moe.shared(token)[0]
        for gate, expert in zip(gates, best.tolist(), strict=True):
            taken[expert] += 1
            if taken[expert] <= room:
                mixed = mixed + gate * (F.gelu(token @ moe.rise[expert]) @ moe.fall[expert])
        out.append(mixed)
    return torch.stack(out).view_as(x)


@pytest.mark.parametrize(
    ("top_k", "shared_experts", "room", "capacity_factor"),
    [
        (1, 0, float("inf"), None),
        (2, 0, float("inf"), None),
        (4, 0, float("inf"), None),
        (3, 1, float("inf"), None),
        (2, 0, 8, 0.75),  # 21 tokens to 2 of 4 experts: 10.5 rows are an even share
        (2, 0, 14, 1.25),
        (2, 0, 42, 4.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_grouped_experts_are_the_experts_token_by_token(
    top_k: int, shared_experts: int, room: float, capacity_factor: float | None, dtype: torch.dtype
) -> None:
    config = replace(
        MOE, top_k=top_k, shared_experts=shared_experts, capacity_factor=capacity_factor
    )
    moe = drawn(MixtureOfExperts(config)).to(dtype)
    x = torch.randn(3, 7, MOE.width, dtype=dtype)
    direction = torch.randn_like(x)
    weights = list(moe.parameters())
    mixed, said = moe(x)[0], token_by_token(moe, x, room)
    near = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(mixed, said, **near)
    grads = torch.autograd.grad(mixed, weights, direction)
    for grouped, single in zip(grads, torch.autograd.grad(said, weights, direction), strict=True):
        torch.testing.assert_close(grouped, single, **near)
    assert (moe.latest.dropped.item() > 0) == (room < 10)


@pytest.mark.parametrize("capacity_factor", [None, 1.0])
def test_what_finds_no_room_is_counted_however_uneven_the_router(
    capacity_factor: float | None,
) -> None:
    moe = drawn(MixtureOfExperts(replace(MOE, capacity_factor=capacity_factor)))
    with torch.no_grad():
        moe.router.weight.copy_(torch.tensor([3.0, 2.0, -1.0, -2.0])[:, None])
    x = torch.rand(4, 9, MOE.width)
    mixed, balance = moe(x)
    room = float("inf") if capacity_factor is None else 18
    torch.testing.assert_close(mixed, token_by_token(moe, x, room))
    assert moe.routing.load.tolist() == [36, 36, 0, 0]
    assert moe.routing.imbalance == 2
    assert moe.routing.dropped == (0 if capacity_factor is None else 36)
    assert balance.item() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("sizes", [[5, 0, 2, 9], [16, 0, 0, 0], [0, 0, 0, 16]])
def test_torchs_grouped_product_is_one_product_a_group(sizes: list[int]) -> None:
    if not is_grouped_product_right(torch.device("cpu"), torch.float32, 16, 24):
        pytest.skip("this torch has no grouped product for a CPU")
    torch.manual_seed(0)
    inputs = [torch.randn(16, 16), torch.randn(4, 16, 24)]
    for x in inputs:
        x.requires_grad_()
    direction = torch.randn(16, 24)
    results = []
    for product in (grouped_matmul, product_by_product):
        out = product(*inputs, torch.tensor(sizes))
        results.append((out, *torch.autograd.grad(out, inputs, direction)))
    for grouped, single in zip(*results, strict=True):
        torch.testing.assert_close(grouped, single)


class Wrong:
    """torch.nn.functional with a grouped product that forgets its groups."""

    @staticmethod
    def grouped_mm(rows: Tensor, matrices: Tensor, offs: Tensor) -> Tensor:
        del offs
        return rows @ matrices[0] + 0 * matrices.sum()


class Absent:
    """torch.nn.functional of an older torch."""


@pytest.mark.parametrize("functional", [Wrong(), Absent()])
def test_a_grouped_product_that_is_wrong_or_missing_is_not_used(
    functional: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts_module, "F", functional)
    is_grouped_product_right.cache_clear()
    rows, matrices = torch.randn(6, 16), torch.randn(2, 16, 24)
    sizes = torch.tensor([2, 4])
    try:
        assert not is_grouped_product_right(rows.device, rows.dtype, 16, 24)
        said = product_by_product(rows, matrices, sizes)
        assert torch.equal(grouped_matmul(rows, matrices, sizes), said)
    finally:
        is_grouped_product_right.cache_clear()


def test_the_balance_loss_is_one_when_experts_are_used_evenly_and_pulls_towards_it() -> None:
    moe = drawn(MixtureOfExperts(MOE))
    x = torch.randn(8, 20, MOE.width)
    optimizer = torch.optim.SGD(moe.router.parameters(), lr=0.2)
    first = moe(x)[1].item()
    for _ in range(60):
        optimizer.zero_grad()
        moe(x)[1].backward()
        optimizer.step()
    last = moe(x)[1].item()
    assert 1 - 1e-2 < last < first
