"""A loop of one's own in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import greenai
from trainings.task import LENGTH, SETTINGS, Task, loader, weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def epochs(model: Any, optimizer: Any, saved: Path) -> None:
    """Train as if nobody metered; ``greenai.step`` and ``phase`` do nothing then."""
    for epoch in range(2):
        model.train()
        group: list[Any] = []
        for batch in loader():
            loss = model(**batch)["loss"] / 2
            loss.backward()
            group.append(len(batch["input_ids"]))
            if len(group) == 2:
                optimizer.step()
                optimizer.zero_grad()
                samples = sum(group)
                greenai.step(
                    tokens=samples * LENGTH,
                    samples=samples,
                    loss=loss.item(),
                    batches=len(group),
                    epoch=epoch,
                )
                group = []
        with greenai.phase("validation"), torch.no_grad():
            model.eval()
            for batch in loader(8):
                model(**batch)
        with greenai.phase("checkpoint"):
            torch.save(model.state_dict(), saved)


def train(task: Task) -> list[torch.Tensor]:
    model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run: Callable[..., None] = epochs
    if task.metered:
        run = greenai.track(task.folder, **SETTINGS)(epochs)
    run(model, optimizer, task.folder.with_name("model.pt"))
    return weights(model)
