"""A loop with Lightning Fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning_fabric
import torch

import greenai
from greenai.callbacks.fabric import EnergyCallback
from trainings.task import SETTINGS, Task, loader, weights

if TYPE_CHECKING:
    from trainings.task import Model


def train(task: Task) -> list[torch.Tensor]:
    metered = [EnergyCallback(task.folder, print_summary=False, **SETTINGS)] if task.metered else []
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, callbacks=metered)
    model: Model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, optimizer = fabric.setup(model, optimizer)
    batches = fabric.setup_dataloaders(loader())
    fabric.call("on_train_start")
    for _ in range(2):
        wrapped.train()
        fabric.call("on_train_epoch_start")
        for index, batch in enumerate(batches):
            fabric.call("on_train_batch_start", batch, index)
            loss = wrapped(**batch)["loss"]
            fabric.backward(loss / 2)
            if index % 2:
                optimizer.step()
                optimizer.zero_grad()
            fabric.call("on_train_batch_end", {"loss": loss}, batch, index)
        fabric.call("on_train_epoch_end")
        fabric.call("on_validation_start")
        with torch.no_grad():
            wrapped.eval()
            for batch in loader(8):
                wrapped(**batch)
        fabric.call("on_validation_end")
        with greenai.phase("checkpoint"):
            fabric.save(task.folder.with_name("state.ckpt"), {"model": wrapped})
    fabric.call("on_train_end")
    return weights(model)
