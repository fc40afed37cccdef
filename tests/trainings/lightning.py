"""Lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning
import torch

from greenai.callbacks import EnergyMonitor
from trainings.task import SETTINGS, Task, loader, weights

if TYPE_CHECKING:
    from trainings.task import Model


class Module(pytorch_lightning.LightningModule):  # type: ignore[misc] # lightning is not followed
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: Any, _index: int) -> Any:
        return self.model(**batch)["loss"]

    validation_step = training_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(task: Task) -> list[torch.Tensor]:
    module = Module(task.model())
    metered = [EnergyMonitor(task.folder, print_summary=False, **SETTINGS)] if task.metered else []
    trainer = pytorch_lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        accumulate_grad_batches=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=task.folder.with_name("out"),
        callbacks=metered,
    )
    trainer.fit(module, loader(), loader(8))
    return weights(module)
