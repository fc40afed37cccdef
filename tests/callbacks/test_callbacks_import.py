"""Laws of how the callback is found: lazily, with a hint where Lightning is missing, by the CLI."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import greenai.callbacks

if TYPE_CHECKING:
    from pathlib import Path


def run(code: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )


def test_the_package_loads_no_framework(tmp_path: Path) -> None:
    code = """
    import sys, greenai.callbacks
    assert "EnergyMonitor" in dir(greenai.callbacks)
    assert not {"torch", "lightning", "pytorch_lightning"} & set(sys.modules)
    """
    done = run(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_without_lightning_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    code = """
    import sys
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"torch", "lightning", "pytorch_lightning"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Hidden())
    sys.modules["lightning"] = sys.modules["pytorch_lightning"] = None
    try:
        from greenai.callbacks import EnergyMonitor
    except ImportError as error:
        assert 'pip install "greenai[lightning]"' in str(error), error
    else:
        raise SystemExit("it was imported")
    """
    done = run(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Monitor2"):
        _ = greenai.callbacks.Monitor2


CLI = """
import sys
import torch
import {tree} as tree
from {tree}.cli import LightningCLI
from torch.utils.data import DataLoader

class Model(tree.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def train_dataloader(self):
        return DataLoader(torch.ones(6, 4), batch_size=2)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

cli = LightningCLI(Model, save_config_callback=None)
(monitor,) = [one for one in cli.trainer.callbacks if type(one).__name__ == "EnergyMonitor"]
print(monitor.settings.country, monitor.settings.pue, monitor._tokens)
"""
QUIET = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.logger=false",
    "--trainer.enable_checkpointing=false",
    "--trainer.enable_progress_bar=false",
]


@pytest.mark.slow
@pytest.mark.parametrize("tree", ["pytorch_lightning", "lightning.pytorch"])
@pytest.mark.parametrize("way", ["arguments", "file"])
def test_the_command_line_of_either_lightning_takes_it(tree: str, way: str, tmp_path: Path) -> None:
    if way == "arguments":
        given = [
            "--trainer.callbacks+=greenai.callbacks.EnergyMonitor",
            "--trainer.callbacks.folder=run",
            "--trainer.callbacks.country=FRA",
            "--trainer.callbacks.pue=1.2",
            "--trainer.callbacks.tokens=64",
            "--trainer.callbacks.sensors=[]",
        ]
    else:
        (tmp_path / "config.yaml").write_text(
            textwrap.dedent(
                """
                trainer:
                  callbacks:
                    - class_path: greenai.callbacks.EnergyMonitor
                      init_args:
                        {folder: run, country: FRA, pue: 1.2, tokens: 64, sensors: []}
                """
            )
        )
        given = ["--config=config.yaml"]
    done = run(CLI.format(tree=tree), "fit", *given, *QUIET, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "FRA 1.2 64" in done.stdout
    assert (tmp_path / "run" / "manifest.json").exists()
