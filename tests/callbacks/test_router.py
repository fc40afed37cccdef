"""Laws of the router lens: it counts what was chosen, waits for nothing, and harms nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import greenai
from greenai.analysis.routing import router_load_of_marks
from greenai.callbacks import EnergyMonitor
from greenai.callbacks.router import Choices, RouterLens
from greenai.errors import OrderError


class Kept:
    """A tracker that keeps what is left."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, int]] = []

    def value(self, name: str, value: float, index: int) -> None:
        self.values.append((name, value, index))

    def of(self, name: str) -> list[float]:
        return [value for one, value, _ in self.values if one == name]


class Fixed(nn.Module):
    """A router that scores as it is told."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, _: Any) -> torch.Tensor:
        return self.scores


class TinyMoE(nn.Module):
    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(8, experts)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates, chosen = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            out = out + (chosen == number)[:, None] * gates[:, None] * expert(x)
        return out


def scores_for(chosen: list[int], experts: int = 4) -> torch.Tensor:
    return 10 * nn.functional.one_hot(torch.tensor(chosen), experts).float()


def test_the_load_is_what_was_chosen() -> None:
    kept, router = Kept(), Fixed(scores_for([0, 0, 0, 1]))
    lens = RouterLens(kept, [router], experts=4, every=2)  # type: ignore[arg-type] # it has value
    for _ in range(2):
        router(None)
        lens.step()
    assert kept.of("router_load/0") == [0.75, 0.25, 0.0, 0.0]
    assert kept.of("router_imbalance") == [3.0]
    assert kept.of("router_variation") == [pytest.approx(math.sqrt(1.5))]
    assert kept.of("router_drop_share") == []
    assert {index for name, _, index in kept.values if name == "router_imbalance"} == {1}


def test_choices_beyond_the_capacity_are_dropped() -> None:
    kept, router = Kept(), Fixed(scores_for([0, 0, 0, 1, 2, 3, 0, 0]))
    lens = RouterLens(kept, [router], experts=4, every=1, capacity_factor=1.0)  # type: ignore[arg-type] # as above
    router(None)
    lens.step()
    assert kept.of("router_drop_share") == [3 / 8]


def test_the_balance_loss_is_one_when_even_and_the_number_of_experts_when_not() -> None:
    kept = Kept()
    even, alone = Fixed(scores_for([0, 1, 2, 3])), Fixed(100 * scores_for([2, 2, 2, 2]))
    for router in (even, alone):
        lens = RouterLens(kept, [router], experts=4, every=1)  # type: ignore[arg-type] # as above
        router(None)
        lens.step()
        lens.close()
    assert kept.of("router_auxiliary_loss") == [pytest.approx(1.0), pytest.approx(4.0)]


def test_top_k_choices_and_an_output_of_ones_own_can_be_read() -> None:
    kept, router = Kept(), Fixed(torch.tensor([[3.0, 2.0, 1.0, 0.0]]))
    lens = RouterLens(kept, [router], experts=4, top_k=2, every=1)  # type: ignore[arg-type] # as above
    router(None)
    lens.step()
    lens.close()
    assert kept.of("router_load/0") == [0.5, 0.5, 0.0, 0.0]
    kept = Kept()
    lens = RouterLens(
        kept,  # type: ignore[arg-type] # as above
        [router],
        experts=4,
        every=1,
        read=lambda _: Choices(torch.tensor([3])),
    )
    router(None)
    lens.step()
    assert kept.of("router_load/0") == [0.0, 0.0, 0.0, 1.0]
    assert kept.of("router_auxiliary_loss") == []


def test_nothing_is_read_between_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, model = Kept(), TinyMoE()
    lens = RouterLens(kept, [model.router], experts=4, every=10)  # type: ignore[arg-type] # as above

    def refuse(*_: Any) -> Any:
        raise AssertionError("the host read a tensor")

    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    for _ in range(9):
        model(torch.ones(16, 8))
        lens.step()
    assert kept.values == []
    assert lens.attempt("The router lens", lambda: "alive") == "alive"


class FakeCuda:
    """Events that come when they are told to."""

    arrived = False

    def Event(self) -> Any:  # noqa: N802 - torch's name
        return self

    def record(self, _: Any) -> None:
        return

    def query(self) -> bool:
        return self.arrived

    def synchronize(self) -> None:
        self.arrived = True

    def current_stream(self, _: Any) -> None:
        return


class OnDevice:
    """Sums that say they are on a GPU."""

    is_cuda = True
    device = "cuda"

    def __init__(self, sums: torch.Tensor) -> None:
        self.sums = sums

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.sums[number]

    def __setitem__(self, number: int, row: torch.Tensor) -> None:
        self.sums[number] = row

    def zero_(self) -> None:
        self.sums.zero_()

    def cpu(self) -> torch.Tensor:
        return self.sums


def test_a_copy_that_has_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, kept, router = FakeCuda(), Kept(), Fixed(scores_for([0, 1, 2, 2]))
    lens = RouterLens(kept, [router], experts=4, every=1, cuda=cuda, pin=True)  # type: ignore[arg-type] # as above
    copied = torch.Tensor.copy_
    monkeypatch.setattr(
        torch.Tensor,
        "copy_",
        lambda self, other, **more: copied(self, getattr(other, "sums", other), **more),
    )
    lens._sums = OnDevice(torch.zeros(lens._shape))  # type: ignore[assignment] # it acts as one
    for _ in range(3):
        router(None)
        lens.step()
    assert kept.values == []
    cuda.arrived = True
    lens.step()
    assert kept.of("router_load/0") == [0.25, 0.25, 0.5, 0.0]
    router(None)
    lens.close()  # what is under way, and what came after it
    assert len(kept.of("router_imbalance")) == 3


def test_evaluation_is_not_counted() -> None:
    kept, model = Kept(), TinyMoE()
    lens = RouterLens(kept, [model.router], experts=4, every=1)  # type: ignore[arg-type] # as above
    model.eval()
    model(torch.ones(3, 8))
    lens.step()
    assert kept.values == []


def test_training_goes_on_alike_with_and_without_the_lens() -> None:
    def trained(watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model, kept = TinyMoE(), Kept()
        lens = RouterLens(kept, [model.router], experts=4, every=1) if watched else None  # type: ignore[arg-type] # as above
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()
            if lens is not None:
                lens.step()
        return list(model.parameters())

    for one, other in zip(trained(True), trained(False), strict=True):
        assert torch.equal(one, other)


def test_a_router_that_cannot_be_read_is_said_once_and_does_not_stop_the_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept, router = Kept(), Fixed(torch.zeros(2, 3))
    lens = RouterLens(kept, [router], experts=4, every=1)  # type: ignore[arg-type] # as above
    for _ in range(3):
        router(None)
        lens.step()
    lens.close()
    assert len(caplog.records) == 1
    assert "read=" in caplog.text
    assert kept.values == []


def test_the_hooks_are_gone_after_close() -> None:
    kept, model = Kept(), TinyMoE()
    lens = RouterLens(kept, [model.router], experts=4, every=1)  # type: ignore[arg-type] # as above
    lens.close()
    model(torch.ones(3, 8))
    assert not model.router._forward_hooks


@pytest.mark.parametrize(
    "wrong", [{"routers": []}, {"top_k": 0}, {"top_k": 5}, {"every": 0}], ids=str
)
def test_what_cannot_be_read_is_refused_at_the_desk(wrong: dict[str, Any]) -> None:
    asked = {"routers": [nn.Linear(2, 4)], "experts": 4, **wrong}
    with pytest.raises(OrderError):
        RouterLens(Kept(), **asked)


def test_a_tiny_mixture_leaves_its_load_in_the_record(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = TinyMoE()
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        lens = RouterLens(tracker, [model.router], experts=4, every=2)
        for _ in range(5):
            model(torch.randn(64, 8)).sum().backward()
            tracker.step(tokens=64)
            lens.step()
        lens.close()
        tracker.stop(wait=True)
    run = greenai.load(tmp_path / "run")
    found = router_load_of_marks(run.record.attempts[0].marks)
    assert found is not None
    assert found.share.shape == (1, 4)
    assert found.share.sum() == pytest.approx(1.0)
    assert found.imbalance > 1
    assert found.auxiliary_loss > 0
    assert len(run.steps()) == 5


def test_in_a_lightning_module_the_lens_lives_from_train_start_to_train_end(tmp_path: Any) -> None:
    class Routed(pytorch_lightning.LightningModule):  # type: ignore[misc] # lightning is not followed
        def __init__(self) -> None:
            super().__init__()
            self.moe = TinyMoE()

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            return self.moe(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def on_train_start(self) -> None:
            self.lens = RouterLens(monitor.tracker, [self.moe.router], experts=4, every=2)

        def on_train_batch_end(self, *_: Any) -> None:
            self.lens.step()

        def on_train_end(self) -> None:
            self.lens.close()

    monitor = EnergyMonitor(tmp_path / "run", sensors=[], batch_size=16, print_summary=False)
    assert monitor.tracker is None
    pytorch_lightning.Trainer(
        max_epochs=1,
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[monitor],
    ).fit(Routed(), DataLoader([torch.randn(8) for _ in range(80)], batch_size=16))
    run = greenai.load(tmp_path / "run")
    found = router_load_of_marks(run.record.attempts[0].marks)
    assert found is not None
    assert found.share.sum() == pytest.approx(1.0)
    assert len(run.steps()) == 5
