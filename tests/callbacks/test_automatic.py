"""Laws of metering that nobody in a training has asked for: off unless told, and always second."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import lightning_fabric
import pytest
import torch

import greenai
from greenai.callbacks import EnergyMonitor
from greenai.callbacks.automatic import fabric_callbacks, trainer_callbacks
from greenai.callbacks.fabric import EnergyCallback

GROUPS = {
    "pytorch_lightning.callbacks_factory": trainer_callbacks,
    "lightning.pytorch.callbacks_factory": trainer_callbacks,
    "lightning_fabric.callbacks_factory": fabric_callbacks,
    "lightning.fabric.callbacks_factory": fabric_callbacks,
}


@pytest.fixture
def automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENAI_AUTO", "1")
    monkeypatch.setenv("GREENAI_SENSORS", "assumed:x=100")


def ours(trainer: Any) -> list[Any]:
    return [one for one in trainer.callbacks if isinstance(one, EnergyMonitor)]


@pytest.mark.parametrize("group", GROUPS)
def test_lightning_finds_us_in_its_groups(group: str) -> None:
    (found,) = entry_points(group=group, name="greenai")
    assert found.load() is GROUPS[group]


def test_where_nobody_asks_nothing_is_loaded() -> None:
    code = """
import os, sys
os.environ.pop("GREENAI_AUTO", None)
before = set(sys.modules)
from greenai.callbacks.automatic import fabric_callbacks, trainer_callbacks
assert trainer_callbacks() == fabric_callbacks() == []
loaded = {one for one in set(sys.modules) - before if not one.startswith("greenai")}
heavy = {"torch", "numpy", "pandas", "pyarrow", "json", "lightning", "pytorch_lightning"}
assert not heavy & loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_variable_a_trainer_has_no_callback_of_ours(
    tree: Any, bench_of: Any, tmp_path: Any
) -> None:
    assert ours(bench_of(tree, tmp_path).trainer()) == []


@pytest.mark.usefixtures("automatic")
def test_with_the_variable_each_trainer_is_metered(
    tree: Any, bench_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENAI_FOLDER", str(tmp_path / "run"))
    bench_of(tree, tmp_path).fit()
    assert len(greenai.load(tmp_path / "run").steps()) == 5


@pytest.mark.usefixtures("automatic")
def test_the_users_own_monitor_goes_first(bench: Any, trackers: Any) -> None:
    own = EnergyMonitor("own", print_summary=False)
    trainer = bench.trainer(own)
    trainer.fit(bench.model(), bench.data())
    assert len(ours(trainer)) == 2
    assert [one.run_folder.name for one in trackers] == ["own"]
    trainer.save_checkpoint(bench.folder / "saved.ckpt")  # two callbacks, two keys


@pytest.mark.usefixtures("automatic")
def test_a_run_that_is_on_goes_first(bench: Any, tmp_path: Any) -> None:
    with greenai.track(tmp_path / "outer", sensors=[]):
        trainer = bench.trainer()
        trainer.fit(bench.model(), bench.data())
    (automatic_one,) = ours(trainer)
    assert automatic_one.run_id is None


@pytest.mark.usefixtures("automatic")
@pytest.mark.parametrize("setting", ["GREENAI_COUNTRY", "GREENAI_FOLDER"])
def test_what_is_wrong_with_the_environment_is_said_and_stops_no_training(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    setting: str,
) -> None:
    """Given a country that is none, or a folder that cannot be used, the training is trained."""
    monkeypatch.setenv(setting, "/proc/none")
    with caplog.at_level(logging.WARNING, "greenai"):
        bench.fit()
    assert len([one for one in caplog.records if "meter" in one.getMessage()]) == 1


@pytest.mark.usefixtures("automatic")
def test_fabric_is_metered_too_and_gives_way(trackers: Any) -> None:
    def train(*callbacks: Any) -> None:
        fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, callbacks=list(callbacks))
        model, optimizer = fabric.setup(
            made := torch.nn.Linear(4, 1), torch.optim.SGD(made.parameters(), lr=0.1)
        )
        fabric.call("on_train_start")
        fabric.backward(model(torch.ones(3, 4)).mean())
        optimizer.step()
        fabric.call("on_train_end")

    train()
    train(EnergyCallback("own", print_summary=False))
    assert [len(one.steps) for one in trackers] == [1, 1]
    assert trackers[1].run_folder.name == "own"
