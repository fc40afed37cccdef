"""The callback of Keras 3: leaves marks at its hooks, and never disturbs a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import keras

from greenai.callbacks.adapter import Adapter
from greenai.callbacks.batches import plain_number
from greenai.callbacks.loop import Loop
from greenai.callbacks.shield import at_the_desk, protected
from greenai.callbacks.trainers import start_tracker
from greenai.settings import resolve

if TYPE_CHECKING:
    import os

    from greenai.keywords import RunKeywords

__all__ = ["EnergyCallback"]


class EnergyCallback(Adapter, keras.callbacks.Callback):  # type: ignore[misc] # keras is not followed
    """Meters ``model.fit`` of Keras 3 on the torch backend: energy by optimizer step and phase.

    A step ends when the next batch begins, or with the epoch: where somebody listens to the ends
    of batches, Keras fetches the metrics from the device after each of them and so waits for it.
    Steps are numbered by the optimizer's iterations and take its gradient accumulation into
    account. Keras shows no batch to its callbacks: tokens and samples are known where you say how
    many a batch has. The loss is the mean over the epoch, at its last step. Evaluation is
    ``validation`` within a fit and ``test`` by itself; what a callback saves is a part of what is
    on, unless it is within ``greenai.phase("checkpoint")``.

    Another fit with the same callback continues the run. Keras tells nobody of an exception: the
    record is then closed at the end of the process, with the next training, or by ``stop()``.

    Args:
        folder: Run folder, as for ``greenai.track``.
        tokens: Tokens of a batch; None leaves them unknown.
        batch_size: Samples of a batch; None leaves them unknown.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
        config: Facts of the run to keep with the record, JSON-safe.
        print_summary: Whether rank 0 prints a summary at the end.
        **settings: Every other setting of ``greenai.track``, such as variant, country, pue or
            parent; see ``greenai.keywords.RunKeywords``.

    Raises:
        OrderError: A value is out of range or a setting is unknown.
        SensorError: A sensor is unknown.
        GridError: A country or a region is unknown.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        tokens: int | None = None,
        batch_size: int | None = None,
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
        self._batches = 0
        self._a_step = 1
        self._epoch = 0
        self._under_way = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Start; the optimizer tells which step comes next."""
        del logs
        self._start()
        self._place.trains = True
        self._count_from()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Wait for the first batch from here."""
        del logs
        self._epoch = epoch
        self._enter("data_wait")

    @protected
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """End the batch before; this one has come."""
        del batch, logs
        self._end_batch()
        self._under_way = True
        self._enter(None)

    @protected
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End the last batch of an epoch, and take the epoch's loss."""
        del epoch
        self._end_batch()
        self._enter(None)
        loss = plain_number(logs.get("loss")) if isinstance(logs, Mapping) else None
        if loss is not None and self._place.metering is not None and self._place.index:
            self._place.metering.tracker.value("loss", loss, self._place.index - 1)

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin an evaluation."""
        del logs
        self._begin_beside("validation", "test")

    def on_predict_begin(self, logs: Any = None) -> None:
        """Begin a prediction."""
        del logs
        self._begin_beside("predict", "predict")

    @protected
    def on_test_end(self, logs: Any = None) -> None:
        """End an evaluation or a prediction."""
        del logs
        self._enter(None)
        if not self._place.trains:
            self._finish(in_haste=True, silently=True)

    on_predict_end = on_test_end

    @protected
    def on_train_end(self, logs: Any = None) -> None:
        """End the record, so that it is complete when ``fit`` returns."""
        del logs
        self._place.trains = False
        self._finish()

    @protected
    def _begin_beside(self, within: str, alone: str) -> None:
        self._end_batch()
        if not self._place.trains:
            self._start()
        self._enter(within if self._place.trains else alone)

    @at_the_desk
    def _start(self) -> None:
        self._take_over()
        if self._place.metering is not None:
            return
        self._meter(
            start_tracker(
                Loop(framework=f"keras {keras.__version__}"),
                self.settings,
                config=self._config,
                earlier=self._place.tracker,
                restored_run_id=None,
            )
        )

    @protected
    def _count_from(self) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        self._a_step = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        iterations = getattr(optimizer, "iterations", None)
        done = self.attempt("Reading the optimizer's iterations", _number, iterations)
        self._batches = done or 0
        self._under_way = False
        self._steps_begin(self._batches // self._a_step, None)

    def _end_batch(self) -> None:
        """Add the batch under way; where the optimizer has stepped, the step ends here."""
        metering = self._place.metering
        if metering is None or not self._under_way:
            return
        self._under_way = False
        self._batches += 1
        metering.enter(None)
        metering.batch(
            tokens=float(self._tokens) if isinstance(self._tokens, int) else None,
            samples=float(self._batch_size) if isinstance(self._batch_size, int) else None,
            loss=None,
            factor=1.0,
            due=False,
        )
        if self._batches % self._a_step == 0:
            metering.step(self._epoch, 1.0)
            self._place.index = metering.index


def _number(variable: Any) -> int:
    return 0 if variable is None else int(getattr(variable, "value", variable))
