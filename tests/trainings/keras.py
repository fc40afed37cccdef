"""Keras 3 on the torch backend."""

from __future__ import annotations

import os
from typing import Any

import torch

import greenai
from trainings.task import LENGTH, SETTINGS, Task, rows, weights

_before = os.environ.get("KERAS_BACKEND")
os.environ["KERAS_BACKEND"] = "torch"  # read once, when keras is imported
import keras  # noqa: E402 - see above

if _before is None:
    del os.environ["KERAS_BACKEND"]

from greenai.callbacks.keras import EnergyCallback  # noqa: E402 - the same

SAMPLES = [8] * 6
"""All batches are as full as the user says."""


class Begins(keras.callbacks.Callback):
    """Stands at the beginning of batches and saves at the end of epochs."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
        self.task.batch()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        with greenai.phase("checkpoint"):
            torch.save(self.model.state_dict(), self.task.folder.with_name("model.pt"))


def train(task: Task) -> list[torch.Tensor]:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int64"),
            keras.layers.Embedding(32, 8),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(32, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    x = torch.stack([row["input_ids"] for row in rows(24)])
    y = torch.stack([row["labels"] for row in rows(24)])
    metered = []
    if task.metered:
        counted = {"tokens": 4 * LENGTH, "batch_size": 4, "print_summary": False}
        metered = [EnergyCallback(task.folder, **counted, **SETTINGS)]
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=2,
        shuffle=False,
        validation_data=(x[:8], y[:8]),
        callbacks=[*metered, Begins(task)],
        verbose=0,
    )
    return weights(model)
