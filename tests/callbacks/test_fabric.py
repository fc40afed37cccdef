"""Laws of the helper of Lightning Fabric that no other loop has."""

from __future__ import annotations

from typing import Any

import lightning_fabric
import pytest
import torch

from greenai.callbacks.fabric import EnergyCallback


class Loop:
    """A loop that tells as much as a test lets it tell."""

    def __init__(self, **arguments: Any) -> None:
        self.callback = EnergyCallback("run", print_summary=False, **arguments)
        self.fabric = lightning_fabric.Fabric(
            accelerator="cpu", devices=1, callbacks=[self.callback]
        )
        model = torch.nn.Linear(4, 1)
        made = [torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2)]
        self.model, self.first, self.second = self.fabric.setup(model, *made)

    def step(self, optimizer: Any = None) -> None:
        self.fabric.backward(self.model(torch.ones(3, 4)).mean())
        (optimizer or self.first).step()


def test_a_loop_that_tells_nothing_is_stepped_by_its_optimizer(trackers: Any) -> None:
    """Given no hook at all, the first step only starts the metering: when it began is unknown."""
    loop = Loop()
    for _ in range(4):
        loop.step()
    (tracker,) = trackers
    assert [step["batches"] for step in tracker.steps] == [1, 1, 1]
    assert [step["tokens"] for step in tracker.steps] == [None] * 3


def test_steps_end_with_their_batches_and_take_what_these_have(trackers: Any) -> None:
    loop = Loop(tokens=7)
    loop.fabric.call("on_train_start")
    loop.fabric.call("on_train_epoch_start")
    for index in range(4):
        loop.fabric.call("on_train_batch_start", None, index)
        if index % 2:
            loop.step()
            assert len(trackers[0].steps) == index // 2
        loop.fabric.call("on_train_batch_end", torch.tensor(0.5), torch.ones(3, 4), index)
    facts = [
        {name: step[name] for name in ("batches", "tokens", "samples", "loss", "epoch")}
        for step in trackers[0].steps
    ]
    assert facts == [{"batches": 2, "tokens": 14, "samples": 6, "loss": 0.5, "epoch": 0}] * 2


def test_batches_that_never_end_still_make_steps(trackers: Any) -> None:
    loop = Loop()
    for index in range(4):
        loop.fabric.call("on_train_batch_start", None, index)
        loop.step()
    assert [step["index"] for step in trackers[0].steps] == [0, 1, 2, 3]


def test_of_several_optimizers_the_first_one_counts(trackers: Any) -> None:
    loop = Loop()
    loop.fabric.call("on_train_start")
    for _ in range(3):
        loop.step()
        loop.step(loop.second)
    assert len(trackers[0].steps) == 3


def test_a_checkpoint_says_which_run_goes_on(trackers: Any) -> None:
    first = Loop()
    first.fabric.call("on_train_start")
    first.step()
    saved = first.callback.state_dict()
    first.fabric.call("on_exception", ValueError())
    assert trackers[0].names[-1] == "stop"
    second = Loop()
    second.callback.load_state_dict(saved)
    second.fabric.call("on_train_start")
    second.step()
    assert trackers[1].facts["resume_run_id"] == trackers[0].run_id
    assert [step["index"] for step in trackers[1].steps] == [1]


@pytest.mark.parametrize("name", ["validation", "test", "predict"])
def test_phases_are_those_that_the_loop_tells(name: str, trackers: Any) -> None:
    loop = Loop()
    for hook in ("on_train_start", f"on_{name}_start", f"on_{name}_end", "on_train_end"):
        loop.fabric.call(hook)
    assert trackers[0].names[2:] == [f"begin {name}", f"end {name}", "stop"]


def test_fabric_tells_who_trains(trackers: Any) -> None:
    loop = Loop()
    loop.fabric.call("on_train_start")
    facts = trackers[0].facts
    assert facts["framework"].startswith("lightning_fabric 2.")
    assert (facts["rank"], facts["local_rank"], facts["world_size"]) == (0, 0, 1)
