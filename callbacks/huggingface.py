"""The callback of Hugging Face's Trainer: leaves marks at its events, and never disturbs it."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import transformers
from transformers.trainer_callback import ExportableState, TrainerCallback

from greenai.callbacks.adapter import Adapter
from greenai.callbacks.batch_sizes import BatchSizes
from greenai.callbacks.loop import Loop
from greenai.callbacks.place import Place
from greenai.callbacks.shield import at_the_desk, protected
from greenai.callbacks.trainers import start_tracker
from greenai.errors import OrderError
from greenai.metrics import PLANNED_STEPS
from greenai.settings import resolve

if TYPE_CHECKING:
    import os

    from greenai.keywords import RunKeywords

__all__ = ["EnergyCallback"]

_log = logging.getLogger("greenai")

BESIDE_CODECARBON = (
    "CodeCarbon meters this process too: its numbers stand beside greenai's and are not added to "
    'them. hint: report_to="none", or a list without "codecarbon", leaves it out'
)
UNCOUNTED = ("no", False, None)
"""Values of include_num_input_tokens_seen with which the trainer counts no tokens."""
FRAMES_MAX = 12
"""The trainer's method stands no further away than this from its event."""


class EnergyCallback(Adapter, TrainerCallback, ExportableState):  # type: ignore[misc] # transformers is not followed
    """Meters a training of Hugging Face's ``Trainer``: energy by optimizer step and phase.

    A step is an optimizer step, numbered by ``state.global_step`` from 0, whatever the gradient
    accumulation. Evaluation within the training is ``validation``, saving is ``checkpoint``; the
    trainer says when they end and, by its control, that they come next. An ``evaluate`` or
    ``predict`` outside of a training is metered from its second batch on: the trainer says
    nothing before the first.

    The trainer shows no batch to its callbacks, so tokens are known where the trainer counts them
    (``include_num_input_tokens_seen``, for a device that takes padded tokens for tokens as it
    does) or you say how many a batch has, and samples where the data set has a length. A loss is
    the trainer's own mean over the steps since the last one that it logged.

    The trainer tells nobody of an exception: the record is then closed at the end of the process,
    with the next training, or by ``stop()``. A training that resumes from a checkpoint joins the
    run that wrote it.

    Args:
        folder: Run folder, as for ``greenai.track``.
        tokens: Tokens of a batch on one device; None takes the trainer's own count.
        batch_size: Samples of a batch on one device; None takes them from the data loader.
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
        >>> callback = EnergyCallback("runs/dense", variant="dense", country="FRA", tokens=4096)
        >>> callback.run_folder is None  # nothing is started before the training
        True
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
        for name, given in (("tokens", tokens), ("batch_size", batch_size)):
            if callable(given):
                raise OrderError(
                    f"{name} is a function.",
                    "The trainer shows no batch to its callbacks.",
                    "give a whole number, or count the tokens by include_num_input_tokens_seen",
                )
        super().__init__(
            resolve(folder=folder, **settings),
            config=config,
            tokens=tokens,
            batch_size=batch_size,
            flops_per_token=flops_per_token,
            print_summary=print_summary,
        )
        self._given = {
            "folder": None if folder is None else str(folder),
            "tokens": tokens,
            "batch_size": batch_size,
            "flops_per_token": flops_per_token,
            "config": None if config is None else dict(config),
            "print_summary": print_summary,
            **settings,
        }
        self.restored: Mapping[str, Any] = {}
        self._tokens_seen = 0
        self._sizes = BatchSizes()
        self._counts_tokens = False
        self._may_save = False

    def state(self) -> dict[str, Any]:
        """Say for a checkpoint how this callback was made, and which run the checkpoint is of."""
        place = self._place
        run = {} if place.tracker is None else {"run_id": place.tracker.run_id, "step": place.index}
        made = self.attempt("Writing the arguments to a checkpoint", _plain, self._given) or {}
        return {"args": made, "attributes": {"restored": run}}

    @at_the_desk
    def on_train_begin(self, /, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Start; of a resumed training the state tells the step and the run."""
        del control
        self._take_over()
        if state.global_step == 0:
            self._place = Place()
        elif self._place.tracker is None:
            self._restore(state)
        self._start(args)
        self._place.trains = True
        self._begin(args, state, more.get("train_dataloader"))

    @protected
    def on_epoch_begin(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the first batch from here."""
        del args, control
        self._sizes.epoch_begins(whole=float(state.epoch or 0.0).is_integer())
        self._enter("data_wait")

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Note that the batches of a step have come."""
        self._enter(None)

    @protected
    def on_substep_end(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add a batch after which the optimizer does not step."""
        del args, state, control
        if self._place.metering is not None:
            self._add_batch(0.0 if self._counts_tokens else None)

    @protected
    def on_step_end(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add the last batch of a step; the step ends here."""
        metering = self._place.metering
        if metering is None:
            return
        metering.enter(None)
        self._add_batch(self._counted(args, state) if self._counts_tokens else None)
        epoch = max(0, math.ceil(state.epoch or 0.0) - 1)
        metering.step(epoch, 1.0)
        self._place.index = metering.index
        self._enter_next(control)

    @protected
    def on_log(self, /, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Take the loss, which the trainer tells some steps late."""
        del args, control
        loss = logs.get("loss") if isinstance(logs, Mapping) else None
        if isinstance(loss, int | float) and self._place.metering is not None and state.global_step:
            self._place.metering.tracker.value("loss", float(loss), state.global_step - 1)

    @protected
    def on_prediction_step(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin what nothing has announced: an evaluation or a prediction of the user's own."""
        del state, control
        if self._place.evaluates:
            return
        self._place.evaluates = True
        within = self._place.trains
        if not within:
            self._take_over()
        self._start(args)
        if self._place.metering is not None and self._place.metering.phase != "validation":
            self._enter("validation" if within else _evaluating())

    @protected
    def on_evaluate(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End an evaluation."""
        del args, state
        self._place.evaluates = False
        if not self._place.trains:  # who evaluates by hand may do so often: wait for nothing
            self._finish(in_haste=True, silently=True)
        elif self._may_save and not control.should_save:
            self._enter("other")  # whether this was the best is decided, and saved, only now
        else:
            self._enter_next(control)

    on_predict = on_evaluate

    @protected
    def on_save(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End a checkpoint."""
        del args, state
        self._enter_next(control)

    @protected
    def on_epoch_end(self, /, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for no batch until the next epoch."""
        del args, state
        self._enter_next(control, waits=False)

    @protected
    def on_train_end(self, *_: Any, **__: Any) -> None:
        """End the record, so that it is complete when the trainer returns."""
        self._place.trains = False
        self._finish()

    def _restore(self, state: Any) -> None:
        """Take over which run a checkpoint is of; the trainer restores callbacks only if asked."""
        saved = (getattr(state, "stateful_callbacks", None) or {}).get(type(self).__name__)
        saved = saved[0] if isinstance(saved, list) and saved else saved
        told = saved.get("attributes", {}).get("restored") if isinstance(saved, Mapping) else None
        self._place.restore(told if isinstance(told, Mapping) else self.restored)

    def _start(self, args: Any) -> None:
        if self._place.metering is not None:
            return
        one_device = getattr(args, "n_gpu", 1) <= 1  # DataParallel takes every visible one
        loop = Loop(
            framework=f"transformers {transformers.__version__}",
            device=args.device if one_device else None,
            rank=args.process_index,
            local_rank=args.local_process_index,
            world_size=args.world_size,
        )
        restored = self._place.restored
        self._meter(
            start_tracker(
                loop,
                self.settings,
                config=self._config,
                earlier=self._place.tracker,
                restored_run_id=restored[0] if restored else None,
            )
        )

    @protected
    def _begin(self, args: Any, state: Any, loader: Any) -> None:
        """End the setup."""
        if "codecarbon" in (args.report_to or ()) or "codecarbon.emissions_tracker" in sys.modules:
            _say_once(BESIDE_CODECARBON)
        self._tokens_seen = state.num_input_tokens_seen
        self._counts_tokens = getattr(args, "include_num_input_tokens_seen", "no") not in UNCOUNTED
        given = self._batch_size if isinstance(self._batch_size, int) else None
        self._sizes = BatchSizes(loader, args.world_size, given)
        self._may_save = getattr(args.save_strategy, "value", args.save_strategy) == "best"
        self._steps_begin(state.global_step, None)
        if self._place.metering is not None and state.max_steps > 0:
            self._place.metering.tracker.value(PLANNED_STEPS, float(state.max_steps), 0)
        if getattr(args, "eval_on_start", False):
            self._enter("validation")

    def _add_batch(self, step_tokens: float | None) -> None:
        """Add a batch; where the trainer counts tokens, the last one brings those of the step."""
        if self._place.metering is None:
            return
        tokens = self._tokens if isinstance(self._tokens, int) else step_tokens
        self._place.metering.batch(
            tokens=None if tokens is None else float(tokens),
            samples=self._sizes.next(),
            loss=None,
            factor=1.0,
            due=False,
        )

    def _counted(self, args: Any, state: Any) -> float | None:
        """Tokens of the step by the trainer's count, which is that of all ranks together."""
        tokens = state.num_input_tokens_seen - self._tokens_seen
        self._tokens_seen = state.num_input_tokens_seen
        return tokens / args.world_size if tokens > 0 else None

    def _enter_next(self, control: Any, *, waits: bool = True) -> None:
        """Go over to what the trainer's control says comes next."""
        if control.should_evaluate:
            self._enter("validation")
        elif control.should_save:
            self._enter("checkpoint")
        else:
            self._enter("data_wait" if waits and not control.should_training_stop else None)


def _evaluating() -> str:
    """Tell by the trainer's method that is running whether a loop evaluates or predicts.

    Only the last event of the loop says it otherwise, and a phase is named when it begins.
    """
    frame, seen = sys._getframe(1), 0  # noqa: SLF001 - the stack is what tells
    while frame.f_back is not None and seen < FRAMES_MAX:
        frame, seen = frame.f_back, seen + 1
        if frame.f_code.co_name in {"evaluate", "predict"}:
            return "predict" if frame.f_code.co_name == "predict" else "validation"
    return "other"


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON has them: what a checkpoint cannot hold would stop the training."""
    plain: dict[str, Any] = json.loads(json.dumps(given, default=str, allow_nan=False))
    return {name: value for name, value in plain.items() if value is not None}


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.warning(text)
