"""Hugging Face's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainingArguments

from greenai.callbacks.huggingface import EnergyCallback
from trainings.task import SETTINGS, Task, rows, weights

if TYPE_CHECKING:
    import torch


def arguments(task: Task, **more: Any) -> TrainingArguments:
    chosen = {
        "output_dir": str(task.folder.with_name("out")),
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "include_num_input_tokens_seen": True,
        "remove_unused_columns": False,
        "seed": 5,
        **more,
    }
    return TrainingArguments(**chosen)


def trainer(task: Task, *callbacks: Any, **more: Any) -> Trainer:
    return Trainer(
        model=task.model(),
        args=arguments(task, **more),
        train_dataset=rows(),
        eval_dataset=rows(8),
        callbacks=list(callbacks),
    )


def train(task: Task) -> list[torch.Tensor]:
    metered = [EnergyCallback(task.folder, print_summary=False, **SETTINGS)] if task.metered else []
    one = trainer(task, *metered)
    one.train()
    return weights(one.model)
