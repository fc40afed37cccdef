"""Laws of losses that a GPU has yet to compute, on a device whose time is in the test's hands."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from greenai.callbacks.late_losses import SLOTS, LateLosses
from greenai.callbacks.metering import Metering


class Device:
    """Stands in for torch.cuda: what was recorded is reached when the test says so."""

    def __init__(self) -> None:
        self.recorded = 0
        self.reached = 0

    def current_stream(self, _: Any) -> Any:
        return self

    def Event(self) -> Any:  # noqa: N802 - torch's name
        device = self

        class Event:
            at = 0

            def record(self, _: Any) -> None:
                device.recorded += 1
                self.at = device.recorded

            def query(self) -> bool:
                return device.reached >= self.at

            def synchronize(self) -> None:
                raise AssertionError("the training would wait for the device")

        return Event()


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def losses(device: Device) -> LateLosses:
    return LateLosses(device, pin=False)


def test_a_loss_is_handed_out_once_and_not_before_it_has_come(
    device: Device, losses: LateLosses
) -> None:
    losses.offer([torch.tensor(0.25), torch.tensor([0.5])], 2, index=7)
    assert list(losses.ready()) == []
    device.reached = 1
    assert list(losses.ready()) == [(7, 0.75)]
    assert list(losses.ready()) == []


def test_losses_come_in_order(device: Device, losses: LateLosses) -> None:
    for index in range(3):
        losses.offer([torch.tensor(float(index))], 1, index)
    device.reached = 2
    assert list(losses.ready()) == [(0, 0.0), (1, 1.0)]
    device.reached = 3
    assert list(losses.ready()) == [(2, 2.0)]


def test_a_device_that_never_answers_costs_losses_and_no_memory(
    device: Device, losses: LateLosses
) -> None:
    taken = [losses.offer([torch.tensor(1.0)], 1, index) for index in range(SLOTS + 3)]
    assert taken == [True] * SLOTS + [False] * 3
    device.reached = SLOTS
    assert len(list(losses.ready())) == SLOTS
    assert losses.offer([torch.tensor(1.0)], 1, 99)


def test_no_graph_is_kept(losses: LateLosses) -> None:
    weight = torch.ones(1, requires_grad=True)
    losses.offer([(weight * 2).sum()], 1, 0)
    assert not losses._slots.requires_grad


class OnGpu(torch.Tensor):  # type: ignore[misc] # torch is not followed
    """A tensor that says it is on a GPU and may not be read."""

    is_cuda = True
    device = torch.device("cuda")

    def item(self) -> Any:
        raise AssertionError("the training would wait for the device")


class Tracker:
    def __init__(self) -> None:
        self.values: list[tuple[str, float, int]] = []
        self.losses: list[float | None] = []

    def train_start(self) -> None:
        pass

    def step(self, *, loss: float | None, **_: Any) -> None:
        self.losses.append(loss)

    def value(self, name: str, value: float, index: int) -> None:
        self.values.append((name, value, index))


def test_the_loss_of_a_gpu_is_a_mark_that_comes_later(device: Device, losses: LateLosses) -> None:
    tracker: Any = Tracker()
    metering = Metering(tracker, flops_per_token=None)
    metering.train_start(10, losses)
    for batch in range(4):
        loss = torch.tensor(float(batch)).as_subclass(OnGpu)
        metering.batch(tokens=None, samples=None, loss=loss, factor=2, due=True)
        if batch % 2:
            metering.step(0, 2)
    assert tracker.losses == [None, None]
    device.reached = 2
    metering.take_late_losses()
    assert tracker.values == [("loss", 1.0, 10), ("loss", 5.0, 11)]


def test_between_log_intervals_no_loss_is_fetched(device: Device, losses: LateLosses) -> None:
    metering = Metering(Tracker(), flops_per_token=None)  # type: ignore[arg-type] # a double
    metering.train_start(0, losses)
    metering.batch(
        tokens=None, samples=None, loss=torch.ones(()).as_subclass(OnGpu), factor=1, due=False
    )
    metering.step(0, 1)
    assert device.recorded == 0
