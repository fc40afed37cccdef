from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from greenai.workloads.attention import (
    eager_attention,
    flex_attention_mask,
    linear_attention,
    windowed_attention,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCES = [1, 7, 12, 32]


def drawn(*shape: int) -> list[Tensor]:
    torch.manual_seed(sum(shape))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def assert_same_forward_and_backward(
    one: Callable[..., Tensor], other: Callable[..., Tensor], inputs: list[Tensor]
) -> None:
    direction = torch.randn(inputs[0].shape, dtype=torch.float64)
    results = []
    for attention in (one, other):
        out = attention(*inputs)
        results.append((out, *torch.autograd.grad(out, inputs, direction)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def masked(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    position = torch.arange(query.shape[-2])
    distance = position[:, None] - position
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    hidden = (distance < 0) | (distance >= window)
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1) @ value


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_eager_attention_is_the_fused_one(sequence: int) -> None:
    fused = partial(F.scaled_dot_product_attention, is_causal=True)
    assert_same_forward_and_backward(eager_attention, fused, drawn(2, 3, sequence, 8))


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("window", [1, 3, 4, 12, 40])
def test_a_blocked_window_is_masked_full_attention(sequence: int, window: int) -> None:
    blocked, full = partial(windowed_attention, window=window), partial(masked, window=window)
    assert_same_forward_and_backward(blocked, full, drawn(2, 3, sequence, 8))


def test_flex_attention_sees_the_same_window() -> None:
    query, key, value = (x.detach().float() for x in drawn(1, 2, 256, 16))
    mask = flex_attention_mask(256, 100, query.device)
    with pytest.warns(UserWarning, match="without torch.compile"):
        seen = flex_attention(query, key, value, block_mask=mask)
    torch.testing.assert_close(seen, masked(query, key, value, 100), rtol=1e-4, atol=1e-5)


def repeated(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    return masked(query, key, value, query.shape[-2])


@pytest.mark.parametrize("shared_heads", [1, 2, 4])
def test_shared_keys_and_values_are_those_repeated_for_each_head(shared_heads: int) -> None:
    query = drawn(2, 4, 9, 8)[0]
    _, key, value = drawn(2, shared_heads, 9, 8)
    fused = partial(F.scaled_dot_product_attention, is_causal=True, enable_gqa=True)
    assert_same_forward_and_backward(fused, repeated, [query, key, value])


def quadratic(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = ((F.elu(query) + 1) @ (F.elu(key) + 1).transpose(-1, -2)).tril()
    return weights / weights.sum(dim=-1, keepdim=True) @ value


def recurrent(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key = F.elu(query) + 1, F.elu(key) + 1
    state = torch.zeros(*query.shape[:2], query.shape[-1], query.shape[-1], dtype=query.dtype)
    total = torch.zeros(*query.shape[:2], query.shape[-1], dtype=query.dtype)
    out = []
    for i in range(query.shape[2]):
        state = state + key[:, :, i, :, None] * value[:, :, i, None, :]
        total = total + key[:, :, i]
        seen = (query[:, :, i, None, :] @ state).squeeze(-2)
        out.append(seen / (query[:, :, i] * total).sum(dim=-1, keepdim=True))
    return torch.stack(out, dim=2)


@pytest.mark.parametrize("form", [quadratic, recurrent])
@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("chunk", [1, 3, 4, 12, 40])
def test_chunked_linear_attention_is_its_quadratic_and_its_recurrent_form(
    form: Callable[..., Tensor], sequence: int, chunk: int
) -> None:
    chunked = partial(linear_attention, chunk=chunk)
    assert_same_forward_and_backward(chunked, form, drawn(2, 3, sequence, 8))
