"""A loop of one's own with Hugging Face's Accelerate."""

from __future__ import annotations

import contextlib
from typing import Any

import accelerate
import torch

import greenai
from trainings.task import LENGTH, SETTINGS, Task, loader, weights


def train(task: Task) -> list[torch.Tensor]:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer, batches = accelerator.prepare(model, optimizer, loader())
    run: Any = greenai.track(task.folder, **SETTINGS) if task.metered else contextlib.nullcontext()
    with run:
        for epoch in range(2):
            model.train()
            samples = count = 0
            for batch in batches:
                with accelerator.accumulate(model):
                    loss = model(**batch)["loss"]
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                samples, count = samples + len(batch["input_ids"]), count + 1
                if accelerator.sync_gradients:
                    greenai.step(
                        tokens=samples * LENGTH,
                        samples=samples,
                        batches=count,
                        loss=loss.item(),
                        epoch=epoch,
                    )
                    samples = count = 0
            with greenai.phase("validation"), torch.no_grad():
                model.eval()
                for batch in loader(8):
                    model(**batch)
            with greenai.phase("checkpoint"):
                accelerator.save_state(str(task.folder.with_name("state")))
    return weights(accelerator.unwrap_model(model))
