"""The Lightning callback: leaves marks at the hooks of a trainer, and never disturbs a training."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from pathlib import Path  # noqa: TC003 - LightningCLI reads the annotations
from typing import Any

from greenai.callbacks.adapter import Adapter
from greenai.callbacks.batches import count, samples_in, tokens_in
from greenai.callbacks.place import Place
from greenai.callbacks.shield import at_the_desk, protected
from greenai.callbacks.summary import settled_figures
from greenai.callbacks.trainers import started_tracker, tell_planned_steps
from greenai.callbacks.trees import callback_classes
from greenai.settings import resolve


class EnergyMonitor(Adapter, *callback_classes()):  # type: ignore[misc] # the bases are what is installed
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
        pue_source: Where that comes from, with its year.
        intensity_table: Where the grid's factor is from: ``newest``, ``codecarbon``, ``ember``.
        sensors: Names of the sensors to use; None tries all.
        devices: UUIDs of the GPUs that the run uses; None takes the trainer's own device.
        tokens: Tokens of a batch, or a function of the batch that counts them; None counts
            input_ids where the batch has them. Padding is left out where it can be: on the CPU.
        batch_size: Samples of a batch, or a function of the batch that counts them; None takes
            the first dimension of the first tensor in the batch.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
        metrics_port: Port of the Prometheus endpoint; None serves none, 0 takes any free one.
        metrics_address: Address of the endpoint; None is this machine alone.
        metrics: Other ways out of live figures, and who may read the endpoint, by name.
        warmup_s: Seconds of training at the start that comparisons leave out.
        config: Facts of the run to keep with the record, JSON-safe.
        sub_phases: Whether to mark forward, backward and optimizer within each step, by the
            host's clock; ``Run.subphases`` and subphases.csv show them.
        print_summary: Whether rank 0 prints a summary at the end of each stage.
        resume: Whether to join the run that the folder already holds.
        parent: Folder or id of the run whose weights this one begins with (fine-tuning).
        budget_kwh: IT energy that the run was given, to be shown beside; it stops nothing.
        budget_kg: Operational emissions that it was given, likewise.
        intensity_file: CSV of carbon intensity over time, for live emissions and the forecast.
        watch: Whether a page that shows the run as it goes is served on this machine, by a process
            of its own; its address is logged once.
        total_steps: Optimizer steps of the whole run, for the forecast; None takes the trainer's.
        price_per_kwh: Price of a kWh, for a forecast in money.
        currency: Of the price.
        codecarbon_check: Whether CodeCarbon's own tracker runs beside, to compare.
        data_parallel_rank: Which ranks share one batch; None takes what the strategy says.

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
        pue_source: str | None = None,
        intensity_table: str | None = None,
        sensors: list[str] | None = None,
        devices: list[str] | None = None,
        tokens: int | Callable[[Any], int] | None = None,
        batch_size: int | Callable[[Any], int] | None = None,
        flops_per_token: float | None = None,
        metrics_port: int | None = None,
        metrics_address: str | None = None,
        metrics: dict[str, Any] | None = None,
        warmup_s: float | None = None,
        config: dict[str, Any] | None = None,
        sub_phases: bool = False,
        print_summary: bool = True,
        resume: bool | None = None,
        parent: str | Path | None = None,
        budget_kwh: float | None = None,
        budget_kg: float | None = None,
        intensity_file: str | Path | None = None,
        watch: bool | None = None,
        total_steps: float | None = None,
        price_per_kwh: float | None = None,
        currency: str | None = None,
        codecarbon_check: bool | None = None,
        data_parallel_rank: int | None = None,
    ) -> None:
        settings = resolve(
            folder=folder,
            variant=variant,
            project=project,
            country=country,
            region=region,
            pue=pue,
            pue_source=pue_source,
            intensity_table=intensity_table,
            sensors=sensors,
            devices=devices,
            metrics_port=metrics_port,
            metrics_address=metrics_address,
            metrics=metrics,
            warmup_s=warmup_s,
            resume=resume,
            parent=parent,
            budget_kwh=budget_kwh,
            budget_kg=budget_kg,
            intensity_file=intensity_file,
            watch=watch,
            total_steps=total_steps,
            price_per_kwh=price_per_kwh,
            currency=currency,
            codecarbon_check=codecarbon_check,
            data_parallel_rank=data_parallel_rank,
        )
        super().__init__(
            settings,
            config=config,
            tokens=tokens,
            batch_size=batch_size,
            flops_per_token=flops_per_token,
            print_summary=print_summary,
        )
        self.sub_phases = sub_phases

    def __getstate__(self) -> dict[str, Any]:
        """Copies, also those sent to other processes, meter nothing and own no run yet."""
        # Lightning hangs the model's own log and log_dict on every callback.
        kept = super().__getstate__().items()
        return {name: own for name, own in kept if name not in {"log", "log_dict"}}

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint; the same whatever the arguments are."""
        return "greenai.EnergyMonitor"

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
        self._start_late(trainer)
        self._train_start(trainer)
        if self._place.metering is not None:
            plan = (self._place.metering.tracker, trainer, pl_module)
            self.attempt("Asking how many steps are planned", tell_planned_steps, *plan)

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
        del trainer, pl_module, exception
        self._finish(in_haste=True)

    @protected
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End the record, so that it is complete when the trainer returns.

        Nobody tells whether another stage follows, and a sampler kept for it would hold its port,
        meter the pause and outnumber the cores in a loop of trainings. A stage that does follow
        joins the same launch of the same run.
        """
        del trainer, pl_module, stage
        self._finish()

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
        tracker = started_tracker(
            trainer,
            self.settings,
            config=self._config,
            earlier=place.tracker,
            restored_run_id=place.restored[0] if place.restored else None,
        )
        place.trainer = weakref.ref(trainer)
        self._meter(tracker)

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
        self._steps_begin(place.index, trainer.strategy.root_device)

    def _log(self, trainer: Any, index: int) -> None:
        """Write what is settled to the trainer's loggers, at the step that they are at."""
        figures = settled_figures(self.totals) if trainer.is_global_zero else {}
        for logger in trainer.loggers if figures else ():
            name = f"Logging to {type(logger).__name__}"
            self.attempt(name, logger.log_metrics, figures, step=index)
