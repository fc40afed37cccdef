"""The Lightning callback: leaves marks at the hooks of a trainer, and never disturbs a training."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from pathlib import Path  # noqa: TC003 - LightningCLI reads the annotations
from typing import Any

from greenai.callbacks.arguments import checked_config, checked_counter, checked_flops
from greenai.callbacks.batches import count, samples_in, tokens_in
from greenai.callbacks.late_losses import LateLosses
from greenai.callbacks.metering import Metering
from greenai.callbacks.place import Place
from greenai.callbacks.shield import Shielded, at_the_desk, protected
from greenai.callbacks.summary import settled_figures, summary_text
from greenai.callbacks.trainers import started_tracker
from greenai.callbacks.trees import callback_classes
from greenai.live.tracker import Totals, Tracker
from greenai.settings import resolve


class EnergyMonitor(Shielded, *callback_classes()):  # type: ignore[misc] # the bases are what is installed
    """Meters a Lightning training: energy by optimizer step and phase, recorded as it goes.

    A step is an optimizer step; its number is what Lightning's loggers use, counted from 0. With
    one optimizer that is ``trainer.global_step`` before the step; with several, which
    ``global_step`` counts one by one, the batches in which any of them stepped are counted.

    Metering starts before the sanity check, once a checkpoint was restored, and ends in
    ``teardown``, on an exception or with the process. A later stage (fit, then test) continues
    the run; a fit with another trainer is another run, but where its checkpoint says which run
    wrote it.

    Args:
        folder: Run folder; {project}, {variant}, {job_id} and {date} are filled in. None takes
            GREENAI_FOLDER, the settings file, or runs/{date}, as for all that follow.
        variant: What is compared: repeats of one thing share it.
        project: What the run belongs to.
        country: ISO 3166 alpha-3 code of the grid; None takes the world average, and says so.
        region: State, province or zone of that country.
        pue: Power usage effectiveness of the site, at least 1; None counts the IT energy alone.
        sensors: Names of the sensors to use; None tries all.
        devices: UUIDs of the GPUs that the run uses; None takes the trainer's own device.
        tokens: Tokens of a batch, or a function of the batch that counts them; None counts
            input_ids where the batch has them. Padding is left out where it can be: on the CPU.
        batch_size: Samples of a batch, or a function of the batch that counts them; None takes
            the first dimension of the first tensor in the batch.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
        metrics_port: Port of the Prometheus endpoint; None serves none, 0 takes any free one.
        metrics_address: Address of the endpoint; None is this machine alone.
        warmup_s: Seconds of training at the start that comparisons leave out.
        config: Facts of the run to keep with the record, JSON-safe.
        sub_phases: Whether to mark forward, backward and optimizer within each step, by the
            host's clock; ``Run.subphases`` and subphases.csv show them.
        print_summary: Whether rank 0 prints a summary at the end of each stage.
        resume: Whether to join the run that the folder already holds.
        parent: Folder or id of the run whose weights this one begins with (fine-tuning).

    Raises:
        OrderError: A value is out of range.
        SensorError: A sensor is unknown.
        GridError: A country or a region is unknown.

    Example:
        >>> monitor = EnergyMonitor("runs/dense", variant="dense", country="FRA", pue=1.2)
        >>> monitor.run_folder is None  # nothing is started before the trainer's setup
        True
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        variant: str | None = None,
        project: str | None = None,
        country: str | None = None,
        region: str | None = None,
        pue: float | None = None,
        sensors: list[str] | None = None,
        devices: list[str] | None = None,
        tokens: int | Callable[[Any], int] | None = None,
        batch_size: int | Callable[[Any], int] | None = None,
        flops_per_token: float | None = None,
        metrics_port: int | None = None,
        metrics_address: str | None = None,
        warmup_s: float | None = None,
        config: dict[str, Any] | None = None,
        sub_phases: bool = False,
        print_summary: bool = True,
        resume: bool | None = None,
        parent: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.settings = resolve(
            folder=folder,
            variant=variant,
            project=project,
            country=country,
            region=region,
            pue=pue,
            sensors=sensors,
            devices=devices,
            metrics_port=metrics_port,
            metrics_address=metrics_address,
            warmup_s=warmup_s,
            resume=resume,
            parent=parent,
        )
        self.print_summary = print_summary
        self.sub_phases = sub_phases
        self._config = checked_config(config)
        self._tokens = checked_counter(tokens, "tokens")
        self._batch_size = checked_counter(batch_size, "batch_size")
        self._flops_per_token = checked_flops(flops_per_token)
        self._place = Place()

    def __getstate__(self) -> dict[str, Any]:
        """Copies, also those sent to other processes, meter nothing and own no run yet."""
        # Lightning hangs the model's own log and log_dict on every callback.
        kept = {name: own for name, own in vars(self).items() if name not in {"log", "log_dict"}}
        return {**kept, "_place": Place()}

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint; the same whatever the arguments are."""
        return "greenai.EnergyMonitor"

    @property
    def run_folder(self) -> Path | None:
        """Folder of the run; None before it has started."""
        return None if self._place.tracker is None else self._place.tracker.run_folder

    @property
    def tracker(self) -> Tracker | None:
        """Tracker of the current or the latest stage, for values of one's own; None before it."""
        return self._place.tracker

    @property
    def run_id(self) -> str | None:
        """Identity of the run; None before it has started."""
        return None if self._place.tracker is None else self._place.tracker.run_id

    @property
    def totals(self) -> Totals:
        """What is settled of the current or the latest stage; NaN where nothing is known."""
        return Totals() if self._place.tracker is None else self._place.tracker.totals()

    @at_the_desk
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Start, but for a fit, whose checkpoint may say which run goes on; it is restored next."""
        del pl_module
        self._place.waits = stage == "fit"
        if not self._place.waits:
            self._start(trainer, stage)

    @protected
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over which run and which step a checkpoint of a fit belongs to."""
        if self._place.waits:
            self._place.restore(state_dict)

    @protected
    def state_dict(self) -> dict[str, Any]:
        """Tell a checkpoint which run and which step it belongs to."""
        place = self._place
        return (
            {} if place.tracker is None else {"run_id": place.tracker.run_id, "step": place.index}
        )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a fit, now that a checkpoint was restored if there is one."""
        del pl_module
        if not trainer.strategy.restore_checkpoint_after_setup:
            self._start_late(trainer)

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        """Start where a checkpoint is restored only now (FSDP, DeepSpeed)."""
        del pl_module
        self._start_late(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """End the setup: steps begin here."""
        del pl_module
        self._start_late(trainer)
        self._train_start(trainer)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Wait for the first batch from here."""
        self._place.in_epoch = True
        self._enter("data_wait")

    def on_train_batch_start(self, *_: Any) -> None:
        """Note that the batch has come."""
        self._enter(None)
        self._enter_part("forward")

    def on_before_backward(self, *_: Any) -> None:
        """End the forward pass."""
        self._enter_part("backward")

    def on_after_backward(self, *_: Any) -> None:
        """End the backward pass."""
        self._enter_part(None)

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Begin the optimizer's part; it ends with the batch."""
        self._enter_part("optimizer")

    @protected
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch; where an optimizer has stepped, the step ends here."""
        del batch_idx
        metering = self._place.metering
        if metering is None:
            return
        metering.enter(None)
        metering.enter_part(None)
        # Automatic optimisation has divided the loss by the number of batches it accumulates.
        factor = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        every = trainer.log_every_n_steps
        due = bool(every) and (metering.index + 1) % every == 0
        if batch is not None:
            metering.batch(
                tokens=self.attempt("Counting tokens", count, self._tokens, tokens_in, batch),
                samples=self.attempt(
                    "Counting samples", count, self._batch_size, samples_in, batch
                ),
                loss=outputs.get("loss") if isinstance(outputs, Mapping) else outputs,
                factor=factor,
                due=due,
            )
        if trainer.global_step != self._place.global_step:
            self._place.global_step = trainer.global_step
            index = metering.step(trainer.current_epoch, factor)
            self._place.index = metering.index
            if due:
                self._log(trainer, index)
        metering.enter(None if trainer.is_last_batch else "data_wait")

    def on_train_epoch_end(self, *_: Any) -> None:
        """Wait for no batch until the next epoch."""
        self._place.in_epoch = False
        self._enter(None)

    @protected
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Log what is settled by now."""
        del pl_module
        metering = self._place.metering
        if metering is None:
            return
        metering.enter(None)
        metering.take_late_losses()
        every = trainer.log_every_n_steps
        if every and metering.index % every:
            self._log(trainer, metering.index - 1)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin validation; the sanity check before training belongs to setup."""
        del pl_module
        if not trainer.sanity_checking:
            self._enter("validation")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """End validation."""
        del pl_module
        if not trainer.sanity_checking:
            waiting = self._place.in_epoch and not trainer.is_last_batch
            self._enter("data_wait" if waiting else None)

    def on_test_start(self, *_: Any) -> None:
        """Begin the test."""
        self._enter("test")

    def on_test_end(self, *_: Any) -> None:
        """End the test, or the prediction."""
        self._enter(None)

    def on_predict_start(self, *_: Any) -> None:
        """Begin prediction."""
        self._enter("predict")

    on_predict_end = on_test_end

    def on_save_checkpoint(self, *_: Any) -> None:
        """Begin a checkpoint; no hook says when it is written, so it ends with our next one."""
        self._enter("checkpoint")

    @protected
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the record: after an exception there is no teardown."""
        del pl_module, exception
        self._finish(trainer, in_haste=True)

    @protected
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End the record, so that it is complete when the trainer returns.

        Nobody tells whether another stage follows, and a sampler kept for it would hold its port,
        meter the pause and outnumber the cores in a loop of trainings. A stage that does follow
        joins the same launch of the same run.
        """
        del pl_module, stage
        self._finish(trainer)

    @protected
    def _enter(self, phase: str | None) -> None:
        if self._place.metering is not None:
            self._place.metering.enter(phase)

    @protected
    def _enter_part(self, part: str | None) -> None:
        if self.sub_phases and self._place.metering is not None:
            self._place.metering.enter_part(part)

    @at_the_desk
    def _start_late(self, trainer: Any) -> None:
        if self._place.waits:
            self._place.waits = False
            self._start(trainer, "fit")

    def _start(self, trainer: Any, stage: str) -> None:
        place = self._place
        same = place.trainer is not None and place.trainer() is trainer
        if stage == "fit" and not same:  # another training, another run
            place = self._place = Place(restored=place.restored)
        place.tracker = started_tracker(
            trainer,
            self.settings,
            config=self._config,
            earlier=place.tracker,
            restored_run_id=place.restored[0] if place.restored else None,
        )
        place.trainer = weakref.ref(trainer)
        place.metering = Metering(place.tracker, flops_per_token=self._flops_per_token)

    @protected
    def _train_start(self, trainer: Any) -> None:
        place = self._place
        if place.metering is None:
            return
        if place.restored is not None:
            place.metering.tracker.resumed_from(*place.restored)
            place.index, place.restored = place.restored[1], None
        elif place.index == 0:  # a checkpoint that was written without this callback
            place.index = trainer.global_step
        place.global_step = trainer.global_step
        on_gpu = trainer.strategy.root_device.type == "cuda"
        late_losses = self.attempt("Fetching losses from the GPU", LateLosses) if on_gpu else None
        place.metering.train_start(place.index, late_losses)

    def _log(self, trainer: Any, index: int) -> None:
        """Write what is settled to the trainer's loggers, at the step that they are at."""
        figures = settled_figures(self.totals) if trainer.is_global_zero else {}
        for logger in trainer.loggers if figures else ():
            name = f"Logging to {type(logger).__name__}"
            self.attempt(name, logger.log_metrics, figures, step=index)

    def _finish(self, trainer: Any, *, in_haste: bool = False) -> None:
        metering, self._place.metering = self._place.metering, None
        if metering is None:
            return
        metering.take_late_losses()
        totals = metering.finish(in_haste=in_haste)
        if self.print_summary and trainer.is_global_zero:
            text = summary_text(
                totals,
                metering.tracker.settings,
                duration_s=metering.age_s,
                folder=metering.tracker.run_folder,
                rank=trainer.global_rank,
                world_size=trainer.world_size,
            )
            print(text, flush=True)  # noqa: T201 - what the user asked for with print_summary

    def _close(self) -> None:
        self._place.metering = None
        if self._place.tracker is not None:
            self._place.tracker.stop()  # where it was stopped before, nothing happens
