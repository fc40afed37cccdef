"""Laws of the reference models that only a real GPU can judge; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from greenai.workloads.architecture import ATTENTIONS, ModelConfig  # noqa: E402 - needs torch
from greenai.workloads.attention import SelfAttention, kernel_of  # noqa: E402 - the same
from greenai.workloads.experts import is_grouped_product_right  # noqa: E402 - the same
from greenai.workloads.model import Transformer  # noqa: E402 - the same

pytestmark = pytest.mark.gpu

CONFIG = ModelConfig(sequence=512, layers=2, heads=4, width=256, window=100, compiled=True)


@pytest.fixture(scope="module")
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return torch.device("cuda")


def test_the_grouped_product_of_this_gpu_is_right_in_bfloat16(cuda: torch.device) -> None:
    assert is_grouped_product_right(cuda, torch.bfloat16, 256, 512)


def test_flex_attention_is_the_blocked_window_forward_and_backward(cuda: torch.device) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, attention="sliding_window")
    flex = SelfAttention(config).to(cuda)
    blocked = SelfAttention(replace(config, compiled=False)).to(cuda)
    blocked.load_state_dict(flex.state_dict())
    x = torch.randn(2, 512, 256, device=cuda)
    direction = torch.randn_like(x)
    results = []
    for module in (flex, blocked):
        out = module(x)
        results.append((out, *torch.autograd.grad(out, list(module.parameters()), direction)))
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-2 * b.abs().max()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("feed_forward", ["dense", "moe"])
def test_every_variant_trains_in_bfloat16_and_its_kernel_is_known(
    cuda: torch.device, attention: str, feed_forward: str
) -> None:
    config = replace(CONFIG, attention=attention, feed_forward=feed_forward)
    model = Transformer(config).to(cuda)
    tokens = torch.randint(256, (4, 512), device=cuda)
    with torch.autocast("cuda", torch.bfloat16):
        kernel = kernel_of(model, config, tokens)
        logits, balance = model(tokens)
        (logits.float().logsumexp(-1).mean() + balance).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    known = {"eager": {"eager"}, "linear": {"chunked"}, "sliding_window": {"flex"}}
    assert kernel in known.get(attention, {"flash", "efficient", "cudnn"})


def test_a_training_step_of_experts_waits_for_no_size(cuda: torch.device) -> None:
    config = replace(CONFIG, feed_forward="moe", capacity_factor=1.25)
    model = Transformer(config).to(cuda)
    tokens = torch.randint(256, (4, 512), device=cuda)
    with torch.autocast("cuda", torch.bfloat16):
        model(tokens)
        torch.cuda.set_sync_debug_mode("error")
        try:
            model(tokens)
        finally:
            torch.cuda.set_sync_debug_mode("default")
