"""Laws of what a trainer tells a tracker, on trainers that only look like some."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from greenai.callbacks import EnergyMonitor
from greenai.callbacks.trainers import devices_of, framework_of, planned_steps, started_tracker
from greenai.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def trainer(rank: int, world_size: int = 2, port: int = 4711) -> Any:
    meeting = SimpleNamespace(main_address="127.0.0.1", main_port=port)
    return SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu"), cluster_environment=meeting),
        global_rank=rank,
        local_rank=rank,
        world_size=world_size,
        num_nodes=1,
    )


def start(trainer: Any, earlier: Any = None, restored: str | None = None) -> Any:
    settings = Settings(folder="runs/{date}")
    return started_tracker(trainer, settings, config={}, earlier=earlier, restored_run_id=restored)


def test_all_ranks_have_one_launch_and_folder_and_no_rank_asks_another(trackers: Any) -> None:
    """Given a strategy that knows no broadcast, the ranks still agree."""
    for rank in range(2):
        start(trainer(rank))
    first, second = trackers
    assert second.launch.launch_id == first.launch.launch_id
    assert second.launch.shared
    assert second.run_folder == first.run_folder
    assert [one.facts["local_rank"] for one in trackers] == [0, 1]
    start(trainer(0, port=4712))
    assert trackers[2].launch.launch_id != first.launch.launch_id


def test_one_process_has_a_launch_of_its_own(trackers: Any) -> None:
    start(trainer(0, world_size=1))
    assert not trackers[0].launch.shared


def test_a_later_stage_goes_before_a_checkpoint(trackers: Any) -> None:
    earlier = start(trainer(0))
    later = start(trainer(0), earlier=earlier, restored="another")
    assert later.facts["resume_run_id"] == earlier.run_id
    assert later.launch == earlier.launch
    assert len(trackers) == 2


def test_a_gpu_is_named_as_nvml_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = "c4e64ddb-ea1c-8a3f-8a48-7dba31e6ae32"
    facts = SimpleNamespace(uuid=uuid)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    assert devices_of(torch.device("cuda", 1)) == (f"GPU-{uuid}",)
    del facts.uuid  # torch before 2.4
    assert devices_of(torch.device("cuda", 1)) is None


def test_on_another_device_no_gpu_is_used() -> None:
    assert devices_of(torch.device("cpu")) == ()
    assert devices_of(torch.device("mps")) == ()


def test_the_framework_is_found_behind_a_users_own_trainer(bench: Any) -> None:
    class Own(bench.tree.Trainer):  # type: ignore[misc] # lightning is not followed
        pass

    assert framework_of(Own.__new__(Own)) == f"pytorch_lightning {bench.tree.__version__}"
    assert framework_of(object()) == ""


class Endless(torch.utils.data.IterableDataset[torch.Tensor]):
    """Data whose length nobody knows."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.ones(6, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"max_epochs": 3, "accumulate_grad_batches": 2},
        {"max_epochs": 2, "accumulate_grad_batches": 2, "max_steps": 5},
        {"max_epochs": 2, "limit_train_batches": 3},
        {"max_epochs": None, "max_steps": 4},
    ],
)
def test_the_planned_steps_are_those_that_the_trainer_itself_expects(
    bench: Any, trackers: Any, arguments: dict[str, Any]
) -> None:
    trainer = bench.trainer(EnergyMonitor(print_summary=False), **arguments)
    trainer.fit(bench.model(), bench.data(5))
    expected = trainer.estimated_stepping_batches  # asked after the fit: it may build loaders
    assert trackers[0].planned == [expected]
    assert len(trackers[0].steps) == expected


def test_what_nobody_knows_is_not_planned(bench: Any, trackers: Any) -> None:
    trainer = bench.trainer(EnergyMonitor(print_summary=False))
    trainer.fit(bench.model(), torch.utils.data.DataLoader(Endless(), batch_size=2))
    assert len(trackers[0].steps) == 3
    assert trackers[0].planned == []


def test_steps_by_hand_are_not_planned(bench: Any) -> None:
    model = bench.model()
    model.automatic_optimization = False
    assert planned_steps(bench.trainer(max_steps=5), model) is None
