"""The helper of Lightning Fabric: leaves marks at the hooks that a loop of one's own calls."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Unpack

from greenai.callbacks.adapter import Adapter
from greenai.callbacks.batches import count, samples_in, tokens_in
from greenai.callbacks.loop import Loop
from greenai.callbacks.shield import at_the_desk, protected
from greenai.callbacks.trainers import meeting_of, start_tracker
from greenai.settings import resolve

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from greenai.callbacks.batches import Counter
    from greenai.keywords import RunKeywords

__all__ = ["EnergyCallback"]

LOSS_EVERY = 50
"""A loss on a GPU is fetched, without waiting for it, of every so many steps."""


class EnergyCallback(Adapter):
    """Meters a loop with Lightning Fabric: energy by optimizer step and phase.

    Give it to ``Fabric(callbacks=[...])``. Fabric itself tells when an optimizer has stepped; the
    rest your loop tells by ``fabric.call``, with the names and arguments of the Trainer:
    ``on_train_start``, ``on_train_epoch_start``, ``on_train_batch_start``,
    ``on_train_batch_end(outputs, batch, batch_idx)``, ``on_validation_start`` and ``_end``,
    ``on_test_start``, ``on_predict_start``, ``on_train_epoch_end``, ``on_train_end`` and, where it
    fails, ``on_exception``. Arguments that you leave out are unknown.

    Metering starts at the first of them, so that a checkpoint can be loaded before. A step ends
    with the batch in which an optimizer stepped, or, in a loop that ends no batches, with the
    optimizer; where there are several, with the first.

    Args:
        folder: Run folder, as for ``greenai.track``.
        tokens: Tokens of a batch, or a function of the batch that counts them; None counts
            input_ids where the batch has them.
        batch_size: Samples of a batch, likewise; None takes the first dimension of its first
            tensor.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
        config: Facts of the run to keep with the record, JSON-safe.
        print_summary: Whether rank 0 prints a summary at the end.
        **settings: Every other setting of ``greenai.track``, such as variant, country, pue or
            parent; see ``greenai.keywords.RunKeywords``.

    Raises:
        OrderError: A value is out of range or a setting is unknown.
        SensorError: A sensor is unknown.
        GridError: A country or a region is unknown.

    Example:
        >>> callback = EnergyCallback("runs/dense", variant="dense", country="FRA")
        >>> callback.state_dict()  # for a checkpoint: which run it belongs to
        {}
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        tokens: Counter = None,
        batch_size: Counter = None,
        flops_per_token: float | None = None,
        config: Mapping[str, Any] | None = None,
        print_summary: bool = True,
        **settings: Unpack[RunKeywords],
    ) -> None:
        super().__init__(
            resolve(folder=folder, **settings),
            config=config,
            tokens=tokens,
            batch_size=batch_size,
            flops_per_token=flops_per_token,
            print_summary=print_summary,
        )
        self._fabric: Any = None
        self._optimizer: int | None = None
        self._ends_batches: bool | None = None
        self._stepped = False
        self._epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """Tell a checkpoint which run and which step it belongs to."""
        place = self._place
        return (
            {} if place.tracker is None else {"run_id": place.tracker.run_id, "step": place.index}
        )

    @protected
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over, before the training, which run and which step a checkpoint belongs to."""
        if self._place.metering is None:
            self._place.restore(state_dict)

    def on_after_setup(self, fabric: Any, module: Any = None) -> None:
        """Note who trains; Fabric calls this itself."""
        del module
        self._fabric = fabric

    def on_train_start(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._start()

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Wait for the first batch from here."""
        self._start()
        self._epoch += 1
        self._place.in_epoch = True
        self._enter("data_wait")

    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        """Note that the batch has come."""
        self._start()
        if self._ends_batches is None:
            self._ends_batches = True
        self._enter(None)

    @protected
    def on_after_optimizer_step(self, strategy: Any = None, optimizer: Any = None) -> None:
        """Note that a step is done; Fabric calls this itself."""
        del strategy
        if self._place.tracker is None:
            self._start()  # when the step under way has begun is not known
            return
        if self._optimizer is None:
            self._optimizer = id(optimizer)
        if self._optimizer != id(optimizer) or self._place.metering is None:
            return
        if self._stepped:  # nothing has ended the batch of the step before
            self._ends_batches = False
            self._end_step(alone=True)
        if not self._ends_batches:
            self._end_step(alone=True)
        self._stepped = bool(self._ends_batches)

    @protected
    def on_train_batch_end(
        self, outputs: Any = None, batch: Any = None, *_: Any, **__: Any
    ) -> None:
        """Add the batch; where an optimizer has stepped, the step ends here."""
        metering = self._place.metering
        if metering is None:
            return
        self._ends_batches = True
        metering.enter(None)
        metering.batch(
            tokens=self.attempt("Counting tokens", count, self._tokens, tokens_in, batch),
            samples=self.attempt("Counting samples", count, self._batch_size, samples_in, batch),
            loss=outputs.get("loss") if hasattr(outputs, "get") else outputs,
            factor=1.0,
            due=(metering.index + 1) % LOSS_EVERY == 0,
        )
        if self._stepped:
            self._end_step()
        metering.enter("data_wait")

    def on_train_epoch_end(self, *_: Any, **__: Any) -> None:
        """Wait for no batch until the next epoch."""
        self._place.in_epoch = False
        self._enter(None)

    def on_validation_start(self, *_: Any, **__: Any) -> None:
        """Begin validation."""
        self._enter("validation")

    def on_validation_end(self, *_: Any, **__: Any) -> None:
        """End validation, a test or a prediction."""
        self._enter("data_wait" if self._place.in_epoch else None)

    def on_test_start(self, *_: Any, **__: Any) -> None:
        """Begin a test."""
        self._enter("test")

    def on_predict_start(self, *_: Any, **__: Any) -> None:
        """Begin prediction."""
        self._enter("predict")

    on_test_end = on_predict_end = on_validation_end

    def on_save_checkpoint(self, *_: Any, **__: Any) -> None:
        """Begin a checkpoint; it ends with the next hook."""
        self._enter("checkpoint")

    @protected
    def on_train_end(self, *_: Any, **__: Any) -> None:
        """End the record, so that it is complete when the loop is over."""
        self._finish()

    def on_exception(self, *_: Any, **__: Any) -> None:
        """End the record where the loop says that it has failed."""
        self.stop()

    @at_the_desk
    def _start(self) -> None:
        place = self._place
        if place.metering is not None:
            return
        self._take_over()
        fabric = self._fabric
        loop = Loop()
        if fabric is not None:
            loop = Loop(
                framework=_framework(fabric),
                device=fabric.device,
                rank=fabric.global_rank,
                local_rank=fabric.local_rank,
                world_size=fabric.world_size,
                meeting=meeting_of(fabric.strategy),
            )
        restored, place.restored = place.restored, None
        self._meter(
            start_tracker(
                loop,
                self.settings,
                config=self._config,
                earlier=place.tracker if restored is None else None,
                restored_run_id=restored[0] if restored else None,
            )
        )
        self._steps_begin(restored[1] if restored else place.index, loop.device)

    def _end_step(self, *, alone: bool = False) -> None:
        metering = self._place.metering
        self._stepped = False
        if metering is None:
            return
        if alone:
            metering.batch(tokens=None, samples=None, loss=None, factor=1.0, due=False)
        metering.step(max(0, self._epoch), 1.0)
        self._place.index = metering.index


def _framework(fabric: Any) -> str:
    name = type(fabric).__module__.partition(".")[0]
    version = getattr(importlib.import_module(name), "__version__", "")
    return f"{name} {version}".rstrip()
