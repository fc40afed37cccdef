"""Watches the routers of a mixture of experts: how evenly they spread tokens, never waited for.

The sums stay on the device: a forward hook adds a handful of small kernels, and nothing is read
before ``every`` steps are over. Then one small copy to pinned memory is started, and what it holds
is left as marks at a later step, when it has come. A hook inside a compiled graph breaks the graph:
compile the experts, and not the router.

In a LightningModule, make the lens in ``on_train_start`` with the monitor's ``tracker``, call
``step`` in ``on_train_batch_end`` and ``close`` in ``on_train_end``: the module's hooks come after
those of the callbacks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from greenai.callbacks.shield import Shielded
from greenai.errors import OrderError
from greenai.metrics import ROUTER_FACTS, ROUTER_LOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenai.live.tracker import Tracker

EVERY = 50
"""Steps between two readings."""
MARKS_MAX = 4096
"""Shares that are left at one reading; with more experts only the facts of all are."""
_EXTRA = 4
"""Columns behind the loads: choices, dropped ones, balance loss, calls."""


class Choices(NamedTuple):
    """What a router said of a batch.

    Attributes:
        chosen: Expert of each choice, integers of any shape.
        scores: Scores before the softmax, shape (…, experts); None leaves the balance loss out.
    """

    chosen: torch.Tensor
    scores: torch.Tensor | None = None


class RouterLens(Shielded):
    """Leaves the load of each expert, its imbalance, drops and balance loss beside the energy.

    Args:
        tracker: The run's tracker, started.
        routers: The modules that score experts, in the order of the model.
        experts: Experts that each of them chooses from.
        top_k: Experts that a token goes to; read from the scores, unless ``read`` says.
        read: Turns a router's output into ``Choices``. None takes scores of shape (…, experts),
            alone or as the first of a tuple.
        capacity_factor: Choices beyond this many times an even share are dropped by the experts;
            None drops nothing and leaves drops unknown.
        every: Steps between two readings.
        cuda: Makes events; a parameter so that it can be tried without a GPU.
        pin: Whether to read by way of pinned memory; None does where there is a GPU.

    Raises:
        OrderError: There are no routers, or a number is out of range.

    Example:
        >>> import tempfile, greenai
        >>> router = torch.nn.Linear(4, 8)
        >>> with greenai.track(tempfile.mkdtemp() + "/run", sensors=[]) as tracker:
        ...     lens = RouterLens(tracker, [router], experts=8, top_k=2, every=1)
        ...     _ = router(torch.randn(16, 4))
        ...     tracker.step(tokens=16)
        ...     lens.step()
        ...     lens.close()

    Source: for the balance loss, Fedus, Zoph, Shazeer 2022, arXiv:2101.03961, equations 4 to 6.
    """

    def __init__(
        self,
        tracker: Tracker,
        routers: Sequence[Any],
        *,
        experts: int,
        top_k: int = 1,
        read: Callable[[Any], Choices] | None = None,
        capacity_factor: float | None = None,
        every: int = EVERY,
        cuda: Any = torch.cuda,
        pin: bool | None = None,
    ) -> None:
        super().__init__()
        if not routers or not 1 <= top_k <= experts or every < 1:
            raise OrderError(
                f"{len(routers)} routers, top_k={top_k} of {experts} experts, every={every}.",
                "No load could be read.",
                "give the router modules, 1 <= top_k <= experts, and every of at least 1",
            )
        self._tracker = tracker
        self._experts, self._top_k, self._every = experts, top_k, every
        self._read = read or self._scores_of
        self._capacity_factor = capacity_factor
        self._sums: torch.Tensor | None = None
        self._shape = (len(routers), experts + _EXTRA)
        self._pinned: torch.Tensor | None = None
        if torch.cuda.is_available() if pin is None else pin:
            # Now, at the desk: pinning memory may wait for the device.
            self._pinned = torch.empty(self._shape, pin_memory=torch.cuda.is_available())
            self._event = cuda.Event()
        self._cuda = cuda
        self._under_way: int | None = None
        self._steps = 0
        self._hooks = [
            router.register_forward_hook(self._hook_of(number))
            for number, router in enumerate(routers)
        ]

    def step(self) -> None:
        """Count an optimizer step; now and then read, without waiting.

        Call it after the tracker's own ``step``, from the same thread.
        """
        self._steps += 1
        self.attempt("The router lens", self._look)

    def close(self) -> None:
        """Leave what was not read yet and take the hooks away; waits for the device once.

        Call it before the tracker stops.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.attempt("The router lens", self._finish)

    def _hook_of(self, number: int) -> Callable[[Any, Any, Any], None]:
        def hook(router: Any, _: Any, output: Any) -> None:
            if router.training:
                self.attempt("The router lens", self._add, number, output)

        return hook

    @torch.no_grad()  # type: ignore[untyped-decorator] # torch is not followed
    def _add(self, number: int, output: Any) -> None:
        chosen, scores = self._read(output)
        chosen = chosen.detach().reshape(-1).long()
        load = torch.zeros(self._experts, device=chosen.device)
        load.scatter_add_(0, chosen, torch.ones_like(chosen, dtype=load.dtype))
        choices = float(chosen.numel())
        dropped = load.new_full((), math.nan)
        if self._capacity_factor is not None:
            capacity = math.ceil(self._capacity_factor * choices / self._experts)
            dropped = (load - capacity).clamp(min=0).sum()
        balance = load.new_full((), math.nan)
        if scores is not None:
            each = scores.detach().reshape(-1, self._experts).float().softmax(-1).mean(0)
            balance = self._experts * (load / choices * each).sum()
        extra = torch.stack((load.new_full((), choices), dropped, balance, load.new_ones(())))
        if self._sums is None:
            self._sums = torch.zeros(self._shape, device=chosen.device)
        self._sums[number] += torch.cat((load, extra))

    def _scores_of(self, output: Any) -> Choices:
        scores = output[0] if isinstance(output, tuple | list) else output
        if scores.shape[-1] != self._experts:
            raise OrderError(
                f"A router's output has shape {tuple(scores.shape)}, not (…, {self._experts}).",
                "Its load is unknown.",
                "say with read= how its output is to be read",
            )
        return Choices(scores.topk(self._top_k, dim=-1).indices, scores)

    def _look(self) -> None:
        if self._under_way is not None and self._event.query():
            index, self._under_way = self._under_way, None
            self._leave(self._pinned, index)
        if self._steps % self._every or self._sums is None or self._under_way is not None:
            return
        if self._pinned is None or not self._sums.is_cuda:
            self._leave(self._sums, self._steps - 1)
        else:
            self._pinned.copy_(self._sums, non_blocking=True)
            self._event.record(self._cuda.current_stream(self._sums.device))
            self._under_way = self._steps - 1
        self._sums.zero_()

    def _finish(self) -> None:
        if self._under_way is not None:
            self._event.synchronize()
            self._leave(self._pinned, self._under_way)
            self._under_way = None
        if self._sums is not None:
            self._leave(self._sums.cpu(), max(0, self._steps - 1))

    def _leave(self, sums: Any, index: int) -> None:
        """Leave marks of what is on the host; routers that did not run since are left out."""
        rows = [row for row in enumerate(sums.tolist()) if row[1][-1] > 0]
        if not rows:
            return
        facts: list[list[float]] = []
        for number, (*load, choices, dropped, balance, calls) in rows:
            even = choices / self._experts
            spread = math.sqrt(sum((one - even) ** 2 for one in load) / self._experts)
            facts.append([max(load) / even, spread / even, dropped / choices, balance / calls])
            if self._shape[0] * self._experts <= MARKS_MAX:
                for expert, one in enumerate(load):
                    self._tracker.value(f"{ROUTER_LOAD}{number}", one / choices, expert)
        for name, values in zip(ROUTER_FACTS, zip(*facts, strict=True), strict=True):
            mean = sum(values) / len(values)
            if not math.isnan(mean):
                self._tracker.value(name, mean, index)
