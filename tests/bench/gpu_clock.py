"""What a step's GPU time costs the training thread; run by `make bench`.

On a machine with a GPU it is measured there, with the queue empty and with it full. Elsewhere a
driver that does nothing stands in, which leaves what greenai itself takes.
"""

from __future__ import annotations

import timeit
from typing import Any

import torch

from greenai.callbacks.gpu_clock import GpuClock
from greenai.live.marks import MarkReader, MarkWriter
from greenai.live.shared import TAIL, Region

ROUNDS = 20
CALLS = 2_000
BUDGET_US = 8.0
"""Of a step with a device event, on a GPU."""


class NoDriver:
    """Answers at once, and as a GPU does that has nothing to do."""

    def is_current_stream_capturing(self) -> bool:
        return False

    def current_stream(self, device: Any) -> None:
        del device

    def Stream(self, **_: Any) -> None:  # noqa: N802 - torch's name
        return None

    def Event(self, **_: Any) -> NoDriver:  # noqa: N802 - torch's name
        return self

    def record(self, stream: Any) -> None:
        del stream

    def query(self) -> bool:
        return True

    def elapsed_time(self, event: Any) -> float:
        del event
        return 1.5


def cost_us(cuda: Any, work: Any) -> float:
    """Microseconds of a step with its GPU time, the step's work taken off."""
    region = Region.create({})
    writer, reader = MarkWriter(region), MarkReader(region)
    clock = GpuClock(0, cuda)
    best = {"step": 1e9, "work": 1e9}

    def step() -> None:
        work()
        clock.step(writer, 1, 512, 4, 2.5)

    for _ in range(ROUNDS):
        for name, call in (("step", step), ("work", work)):
            while reader.drain():
                reader.release()
            writer._limit = region.header[TAIL] + 65_536
            best[name] = min(best[name], timeit.timeit(call, number=CALLS) / CALLS * 1e6)
    assert clock.failure is None, clock.failure
    return best["step"] - best["work"]


def main() -> None:
    """Print the cost beside its budget."""
    print("cost of a step with its GPU time on the training thread (µs, best of rounds)")
    costs = {"with a driver that does nothing": cost_us(NoDriver(), lambda: None)}
    if torch.cuda.is_available():
        small = torch.ones(1, device="cuda")
        large = torch.ones(2048, 2048, device="cuda")
        costs["on this GPU, a kernel a step"] = cost_us(torch.cuda, lambda: small.add_(1))
        costs["on this GPU, it lags behind"] = cost_us(torch.cuda, lambda: large @ large)
    for name, cost in costs.items():
        verdict = "within" if cost <= BUDGET_US else "MISSED"
        print(f"  {name:34} {cost:5.2f}   budget {BUDGET_US:.1f}   {verdict}")


if __name__ == "__main__":
    main()
