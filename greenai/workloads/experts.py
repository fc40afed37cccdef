"""Feed-forward layers: one for all tokens, or experts that each token is routed to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses
from torch import Tensor, nn

if TYPE_CHECKING:
    from greenai.workloads.architecture import ModelConfig


@dataclass(frozen=True)
class Routing:
    """Where the tokens of one or more forward passes went, in one block.

    Args:
        load: Assignments that the router made to each expert. Shape (experts,).
        dropped: Assignments that found no room and were computed by no expert. Shape ().
        balance: The load-balancing loss, of the latest pass: 1 where the experts are used evenly,
            the number of experts where one is used alone. Shape ().

    Example:
        >>> Routing(torch.tensor([3, 1]), torch.tensor(0), torch.tensor(1.2)).imbalance
        1.5
    """

    load: Tensor
    dropped: Tensor
    balance: Tensor

    @property
    def imbalance(self) -> float:
        """Load of the fullest expert over the mean load; 1 is even. Waits for the device."""
        return float(self.load.max() * len(self.load) / self.load.sum())


def grouped_matmul(rows: Tensor, matrices: Tensor, sizes: Tensor) -> Tensor:
    """Multiply consecutive groups of rows, each by its own matrix; no row is padding.

    Torch's grouped product where it exists and has been seen to be right, which waits for no size;
    else one product a group.

    Args:
        rows: Shape (n, inner).
        matrices: Shape (groups, inner, outer).
        sizes: Rows in each group, adding up to n; a group may be empty. Shape (groups,).

    Returns:
        Shape (n, outer).

    Example:
        >>> doubled_then_tripled = torch.tensor([[[2.0]], [[3.0]]])
        >>> rows = torch.ones(3, 1)
        >>> grouped_matmul(rows, doubled_then_tripled, torch.tensor([1, 2])).flatten().tolist()
        [2.0, 3.0, 3.0]
    """
    device = rows.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
    if is_grouped_product_right(rows.device, dtype, matrices.shape[1], matrices.shape[2]):
        ends = sizes.cumsum(0).to(torch.int32)
        return F.grouped_mm(rows.to(dtype), matrices.to(dtype), offs=ends)
    return product_by_product(rows, matrices, sizes)


def product_by_product(rows: Tensor, matrices: Tensor, sizes: Tensor) -> Tensor:
    """Do the same by one product a group, for which the sizes are fetched from the device.

    Example:
        >>> product_by_product(torch.ones(2, 1), torch.ones(1, 1, 3), torch.tensor([2])).shape
        torch.Size([2, 3])
    """
    groups = zip(rows.split(sizes.tolist()), matrices.unbind(), strict=True)
    return torch.cat([group @ matrix for group, matrix in groups])


@cache
def is_grouped_product_right(
    device: torch.device, dtype: torch.dtype, inner: int, outer: int
) -> bool:
    """Try torch's grouped product on a device, forward and backward, beside one product a group.

    Torch promises it for bfloat16 on some GPUs; it refuses some types and sizes.

    Args:
        device: Where.
        dtype: Of rows and matrices.
        inner: Columns of the rows.
        outer: Columns of the result.

    Returns:
        Whether it exists, takes these and agrees to within rounding, empty groups included.

    Example:
        >>> is_grouped_product_right(torch.device("cpu"), torch.float64, 8, 8)
        False
    """
    if not hasattr(F, "grouped_mm"):
        return False
    generator = torch.Generator().manual_seed(0)
    drawn = [
        torch.randn(*shape, generator=generator).to(device, dtype)
        for shape in ((24, inner), (4, inner, outer), (24, outer))
    ]
    sizes = torch.tensor([7, 0, 16, 1], device=device)
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        rows, matrices, direction = drawn[0].requires_grad_(), drawn[1].requires_grad_(), drawn[2]
        try:
            out = F.grouped_mm(rows, matrices, offs=sizes.cumsum(0).to(torch.int32))
            tried = [out, *torch.autograd.grad(out, (rows, matrices), direction)]
        except (RuntimeError, NotImplementedError):
            return False
        out = product_by_product(rows, matrices, sizes)
        known = [out, *torch.autograd.grad(out, (rows, matrices), direction)]
    tolerance = 4 * torch.finfo(dtype).eps * max(inner, outer) ** 0.5
    return all(
        bool((a - b).abs().max() <= tolerance * b.abs().max())
        for a, b in zip(tried, known, strict=True)
    )


class DenseFeedForward(nn.Module):  # type: ignore[misc]  # torch is not followed by the type checker
    """Two matrices with GELU between.

    Args:
        width: Size of the residual stream.
        hidden: Hidden units.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.rise = nn.Parameter(torch.empty(width, hidden))
        self.fall = nn.Parameter(torch.empty(hidden, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform each position by itself. Shape as `x`; and the balance loss, which is 0."""
        return F.gelu(x @ self.rise) @ self.fall, x.new_zeros(())


class MixtureOfExperts(nn.Module):  # type: ignore[misc]  # as above
    """Each token through its `top_k` experts, weighted by the router's gates, and the shared ones.

    The gates are the softmax over the chosen experts' scores. The balance loss is the
    Switch Transformer's: 1 when the experts are used evenly, `experts` when one is used alone.
    Assignments that find no room in their expert add nothing to their token, which keeps its
    other experts and the residual stream; they are counted.

    Args:
        config: The model.

    Source: Fedus, Zoph, Shazeer 2022, arXiv:2101.03961, equations 4 to 6.
    """

    load: Tensor
    dropped: Tensor
    balance: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.experts, self.top_k = config.experts, config.top_k
        self.capacity_factor = config.capacity_factor
        self.router = nn.Linear(config.width, config.experts, bias=False)
        self.rise = nn.Parameter(torch.empty(config.experts, config.width, config.expert_width))
        self.fall = nn.Parameter(torch.empty(config.experts, config.expert_width, config.width))
        self.shared = (
            DenseFeedForward(config.width, config.shared_experts * config.expert_width)
            if config.shared_experts
            else None
        )
        # Sums over the training; they stay on the device, so that counting waits for nothing.
        for name, count in (
            ("load", torch.zeros(config.experts, dtype=torch.long)),
            ("dropped", torch.zeros((), dtype=torch.long)),
            ("balance", torch.full((), float("nan"))),
        ):
            self.register_buffer(name, count, persistent=False)
        self.latest: Routing | None = None

    @property
    def routing(self) -> Routing:
        """Where the tokens of all training steps went."""
        return Routing(self.load, self.dropped, self.balance)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform each position by its experts. Shape as `x`; and the balance loss."""
        tokens = x.reshape(-1, x.shape[-1])
        scores = self.router(tokens).float() if x.dtype != torch.float64 else self.router(tokens)
        chosen_scores, chosen = scores.topk(self.top_k, dim=-1)
        gates = chosen_scores.softmax(dim=-1)
        load = torch.zeros(self.experts, dtype=torch.long, device=x.device)
        load.scatter_add_(0, chosen.flatten(), torch.ones_like(chosen.flatten()))
        computed, dropped = self._apply_experts(tokens, chosen.flatten(), load)
        mixed = (computed.view(*chosen.shape, -1) * gates[..., None]).sum(dim=1)
        balance = self.experts * (load / chosen.numel() * scores.softmax(dim=-1).mean(dim=0)).sum()
        self.latest = Routing(load, dropped, balance.detach())
        if self.training:
            self.load += load
            self.dropped += dropped
            self.balance = balance.detach()
        if self.shared is not None:
            mixed = mixed + self.shared(tokens)[0]
        return mixed.view_as(x), balance

    def _apply_experts(self, tokens: Tensor, chosen: Tensor, load: Tensor) -> tuple[Tensor, Tensor]:
        """Sort the assignments by expert, so that each expert multiplies its own in one product.

        Args:
            tokens: Shape (tokens, width).
            chosen: The expert of each assignment, token by token. Shape (tokens · top_k,).
            load: Assignments of each expert. Shape (experts,).

        Returns:
            What the expert made of the token, for each assignment, shape (tokens · top_k, width);
            and how many found no room, shape ().
        """
        by_expert = chosen.argsort(stable=True)
        rows = tokens[by_expert // self.top_k]
        back = torch.empty_like(by_expert)
        back[by_expert] = torch.arange(len(chosen), device=chosen.device)
        if self.capacity_factor is None:
            hidden = F.gelu(grouped_matmul(rows, self.rise, load))
            return grouped_matmul(hidden, self.fall, load)[back], load.new_zeros(())
        room = math.ceil(self.capacity_factor * len(chosen) / self.experts)
        expert = chosen[by_expert]
        place = torch.arange(len(chosen), device=chosen.device) - (load.cumsum(0) - load)[expert]
        fits = place < room
        # One row more than there is room for: what is dropped goes there and comes back as zero.
        seat = torch.where(fits, expert * room + place, self.experts * room)
        seated = rows.new_zeros(self.experts * room + 1, rows.shape[-1]).index_copy(0, seat, rows)
        inside = seated[:-1].view(self.experts, room, -1)
        made = (F.gelu(inside @ self.rise) @ self.fall).flatten(0, 1)
        made = torch.cat((made, made.new_zeros(1, made.shape[-1])))
        return made[seat][back], (~fits).sum()
