"""One training run of a reference model with Lightning, ended by the clock and without chatter."""

from __future__ import annotations

import logging
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from greenai.workloads.attention import kernel_of
from greenai.workloads.data import Batches
from greenai.workloads.facts import precision
from greenai.workloads.lightning_module import LanguageModel, lightning
from greenai.workloads.model import Transformer
from greenai.workloads.routing import router_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Text

HELD_OUT_BATCHES = 8
_LIGHTNING_LOGGERS = (
    "pytorch_lightning",
    "lightning.pytorch",
    "lightning_fabric",
    "lightning.fabric",
)
_KNOWN_WARNINGS = (
    ".*does not have many workers.*",  # windows of a text in memory: a worker would only add cost
    ".*isinstance.treespec, LeafSpec.*",  # lightning's own use of a deprecated torch name
    ".*`pin_memory` option.*",
    ".*GPU available but not used.*",
)


class StopAfter(lightning.Callback):  # type: ignore[misc]  # lightning is not followed
    """End a training when its time is over, after the step that is running then.

    Args:
        limit_s: Seconds from the start of training.
        advance: Called after each step with the seconds spent so far.
        clock: Seconds on a monotonic clock.
    """

    def __init__(
        self,
        limit_s: float,
        advance: Callable[[float], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit_s, self.advance, self.clock = limit_s, advance, clock
        self.started_s = clock()

    def on_train_start(self, *_: Any) -> None:
        """Start counting."""
        self.started_s = self.clock()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Look at the clock."""
        spent_s = self.clock() - self.started_s
        self.advance(spent_s)
        if spent_s >= self.limit_s:
            trainer.should_stop = True


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's messages and its known warnings, and give both back afterwards.

    Example:
        >>> with quiet_lightning():
        ...     logging.getLogger("pytorch_lightning").isEnabledFor(logging.WARNING)
        False
    """
    loggers = [logging.getLogger(name) for name in _LIGHTNING_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Args:
        held_out_loss_nats: Loss on held-out text after the training, in nats a byte.
        router_load: What the routers did (see greenai/workloads/facts.py); None without any.
    """

    held_out_loss_nats: float
    router_load: dict[str, Any] | None


def train(
    config: ModelConfig,
    text: Text,
    *,
    batch: int,
    learning_rate: float,
    seed: int,
    limit_s: float = math.inf,
    steps: int = -1,
    callbacks: Sequence[Any] = (),
    advance: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Train one model for a time, or for so many steps, and tell what it learned.

    The seed decides weights and batches; torch's global generators are left as they were.

    Args:
        config: The model.
        text: What it is trained and validated on.
        batch: Sequences in a batch.
        learning_rate: Of AdamW.
        seed: Of the weights and of the order of the batches.
        limit_s: Seconds of training.
        steps: Steps of training; -1 is no limit.
        callbacks: Of the trainer; they see every step before the clock is looked at.
        advance: Called after each step with the seconds spent so far.

    Returns:
        What is computed when the callbacks are done, so that its energy is in no run.

    Raises:
        OrderError: The text does not fill one batch.
    """
    # Both before training, so that too small a text is refused at once.
    batches = Batches(text.training, batch=batch, sequence=config.sequence, seed=seed)
    held_out = Batches(text.validation, batch=batch, sequence=config.sequence, seed=0)
    on_gpu = torch.cuda.is_available()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LanguageModel(config, learning_rate)
        trainer = lightning.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=1,
            precision=precision(),
            max_epochs=1,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*callbacks, StopAfter(limit_s, advance)],
        )
        trainer.fit(model, DataLoader(batches, batch_size=None))
        load = router_load(model.model.routings(), model.course)
        if on_gpu:
            model.cuda()  # some strategies take it back to the CPU
        with _as_trained(model.device):
            loss = model.held_out_loss(list(islice(held_out, HELD_OUT_BATCHES)))
        return Trained(loss, load)


def find_kernel(config: ModelConfig, batch: int) -> str:
    """Say which kernel will compute a model's attention here.

    Args:
        config: The model; one layer of it is run once, in a batch as in training.
        batch: Sequences in a batch.

    Returns:
        See `kernel_of`.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> find_kernel(ModelConfig(attention="eager"), batch=1)
        'eager'
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    one_layer = replace(config, layers=1)
    with torch.random.fork_rng(), _as_trained(device):
        model = Transformer(one_layer).to(device)
        tokens = torch.zeros(batch, config.sequence, dtype=torch.long, device=device)
        return kernel_of(model, one_layer, tokens)


@contextmanager
def _as_trained(device: torch.device) -> Iterator[None]:
    """Compute in the numbers that training uses."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision() == "bf16-mixed"):
        yield
