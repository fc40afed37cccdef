"""The reference model as a LightningModule, of whichever Lightning is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's own documentation uses

from greenai.errors import OrderError
from greenai.workloads.model import Transformer
from greenai.workloads.routing import RouterCourse

if find_spec("pytorch_lightning") is not None:
    import pytorch_lightning as lightning
elif find_spec("lightning") is not None:
    import lightning.pytorch as lightning
else:
    raise OrderError(
        "Neither pytorch_lightning nor lightning is installed.",
        "The reference workloads cannot be trained.",
        'pip install "greenai[lightning]"',
    )

if TYPE_CHECKING:
    from torch import Tensor

    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Batch

__all__ = ["LanguageModel", "lightning"]


class LanguageModel(lightning.LightningModule):  # type: ignore[misc]  # lightning is not followed
    """Next-byte prediction with AdamW at a constant learning rate.

    Args:
        config: The model.
        learning_rate: Of AdamW.
    """

    def __init__(self, config: ModelConfig, learning_rate: float) -> None:
        super().__init__()
        self.model = Transformer(config)
        self.learning_rate = learning_rate
        self.course = RouterCourse()

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Cross-entropy in nats a byte, with the gradient of the balance loss added.

        The loss's value is the cross-entropy alone, so that it can be compared across variants:
        the balance loss is added as a term of value zero that keeps its gradient.
        """
        inputs, targets = batch
        logits, balance = self.model(inputs)
        if self.model.config.feed_forward == "moe":
            self.course.offer(batch_index, self.model.routings())
        entropy = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        weight = self.model.config.balance_weight
        return {"loss": entropy + weight * (balance - balance.detach())}

    def configure_optimizers(self) -> Any:
        """AdamW without a schedule: runs of unequal length stay comparable."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate, betas=(0.9, 0.95))

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not followed
    def held_out_loss(self, batches: list[Batch]) -> float:
        """Mean cross-entropy over batches that were not trained on, in nats a byte.

        Args:
            batches: Validation batches of one size.

        Returns:
            Nats a byte.
        """
        self.model.eval()  # what follows is no part of the router's load
        losses = []
        for inputs, targets in batches:
            logits, _ = self.model(inputs.to(self.device))
            losses.append(F.cross_entropy(logits.flatten(0, 1), targets.to(self.device).flatten()))
        return float(torch.stack(losses).mean())
