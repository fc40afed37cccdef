"""The door: the one object a user holds while training."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Self

from greenai.errors import OrderError
from greenai.live import active
from greenai.live.handover import (
    attempt_facts,
    parentage,
    plain_config,
    refuse_taken_port,
    restart_evidence,
    run_facts,
    sampler_thread,
    sensor_names,
)
from greenai.live.launch import launch
from greenai.live.marks import MarkWriter
from greenai.live.process import SamplerProcess
from greenai.live.shared import STOP_ASKED, Region, Totals
from greenai.live.troubles import served_url, troubles
from greenai.metrics import MARKABLE_PHASES, SUB_PHASES
from greenai.record.claim import claim_run
from greenai.record.manifest import write_run_manifest
from greenai.record.types import (
    FIXED_NAMES,
    NOTE,
    PHASE_BEGIN,
    PHASE_END,
    RESUMED_NOTE,
    STOP,
    VALUE,
)
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from greenai.live.hook import StepHook
    from greenai.settings import Settings

__all__ = ["Totals", "Tracker"]

STOP_WAIT_S = 0.2
"""``stop()`` waits no longer than this for the last reading."""
FINISH_WAIT_S = 60.0
"""``stop(wait=True)`` waits no longer than this for the derived files."""
LOOK_NS = NS_PER_S

_NAME_IDS = {name: position for position, name in enumerate(FIXED_NAMES)}
_PHASES = MARKABLE_PHASES + SUB_PHASES
_EPOCH, _FLOPS, _TRAIN_START = (_NAME_IDS[name] for name in ("epoch", "flops", "train_start"))

_DEAD = (
    "The sampler process has ended before the training: what it had written is kept, what came "
    "after is missing. hint: read sampler.log in the run folder"
)
_log = logging.getLogger("greenai")


class Tracker:
    """Meters one run: starts the sampler, takes marks, stops.

    Nothing is started by the constructor. After ``start`` no call raises and none waits, but
    ``stop``. Only the thread that started the tracker marks; others are refused with a note.

    Args:
        settings: Checked settings (see greenai.settings).
        config: Facts of the run to keep with the record, JSON-safe; ``repeat`` pairs runs in
            comparisons.
        framework: Name and version of the training framework.
        rank: Global rank, where the framework knows it better than the environment.
        world_size: Number of ranks, likewise.
        local_rank: Rank on this host, likewise; 0 meters the host's CPU and memory.
        resume_run_id: Identity of the run that goes on.
        evidence: Why an existing run may be joined, besides a launcher's restart; None takes a
            restored checkpoint where ``resume_run_id`` is given.
        find_hook: Gives what knows the GPU; None as long as there is none. Asked when training
            starts, at the first step, and once a second until there is one.

    Example:
        >>> import tempfile, greenai
        >>> with greenai.track(tempfile.mkdtemp() + "/run", sensors=[]) as tracker:
        ...     for loss in (0.5, 0.25):
        ...         tracker.step(tokens=512, loss=loss)
        >>> tracker.active
        False
    """

    def __init__(
        self,
        settings: Settings,
        *,
        config: Mapping[str, Any] | None = None,
        framework: str = "",
        rank: int | None = None,
        world_size: int | None = None,
        local_rank: int | None = None,
        resume_run_id: str | None = None,
        evidence: str | None = None,
        find_hook: Callable[[], StepHook | None] | None = None,
    ) -> None:
        self.settings = settings
        self.launch = launch(rank=rank, local_rank=local_rank, world_size=world_size)
        self.run_folder = settings.run_folder(date=self.launch.date)
        self.run_id = resume_run_id or self.launch.new_run_id(self.run_folder)
        self._config = plain_config(config or {})
        self._framework = framework
        self._evidence = evidence or ("a restored checkpoint" if resume_run_id else None)
        self._region: Region | None = None
        self._writer: MarkWriter | None = None
        self._process: SamplerProcess | None = None
        self._thread: threading.Thread | None = None
        self._started = False
        self._totals = Totals()
        self._find_hook = find_hook
        self._hook: StepHook | None = None
        self._epoch: float | None = None
        self._look_ns = 0
        self._in_setup = False
        self._own_names: dict[str, int] = {}
        self._said: set[str] = set()

    @property
    def active(self) -> bool:
        """Whether the run is being metered by this process."""
        return self._writer is not None

    @property
    def metrics_url(self) -> str | None:
        """Address of the Prometheus endpoint, as soon as it is served."""
        return None if self._region is None else served_url(self._region, self.settings)

    def start(self) -> Self:
        """Claim the run folder and start the sampler; takes a few milliseconds, waits for nothing.

        Raises:
            OrderError: The tracker was started before, another meters this process, or a port is
                taken and no other will do.
            RecordError: The run folder cannot be used.
        """
        if self._started:
            raise OrderError(
                "This tracker was started before.", hint="make a new one for another run"
            )
        active.refuse_second()
        refuse_taken_port(self.settings, self.launch)
        self._started = True
        self.run_id, lineage = parentage(self.settings, self.launch, self.run_id)
        evidence = restart_evidence(self.launch, self.settings, self._evidence)
        claim = claim_run(self.run_folder, self.run_id, self.launch, evidence=evidence)
        self.run_folder, self.run_id = claim.folder.absolute(), claim.run_id
        if claim.notice:
            self._say(claim.notice)
        facts = run_facts(self.run_id, self.settings, self._config, lineage)
        if claim.created:
            write_run_manifest(self.run_folder, facts)
        self._region = Region.create(
            {
                "run_folder": str(self.run_folder.absolute()),
                "attempt_folder": str(claim.attempt_folder.absolute()),
                "run": facts,
                "manifest": attempt_facts(self.run_id, self.launch, self.settings, self._framework),
                "sensors": sensor_names(self.settings.sensors, self.launch.local_rank),
                "devices": self.settings.devices,
                "parent_pid": os.getpid(),
                "intensity_file": self.settings.intensity_file,
                "metrics_port": self.settings.metrics_port,
                "metrics_address": self.settings.metrics_address,
                "metrics": self.settings.metrics.to_json(),
            }
        )
        self._launch_sampler(self._region, claim.attempt_folder)
        self._writer = MarkWriter(self._region)
        self.begin("setup")
        self._in_setup = True
        active.enter(self)
        atexit.register(self.stop)
        return self

    def train_start(self) -> None:
        """Steps count from here; what came before was setup."""
        if self._in_setup:
            self._in_setup = False
            self.end("setup")
        if self._hook is None and self._find_hook is not None:
            self._hook = self._find_hook()
        if self._writer is not None:
            self._writer.mark(NOTE, _TRAIN_START, 0, 0.0)

    def step(
        self,
        *,
        tokens: float | None = None,
        samples: float | None = None,
        loss: float | None = None,
        batches: float = 1,
        flops: float | None = None,
        index: int | None = None,
        epoch: float | None = None,
    ) -> None:
        """Mark the boundary: an optimizer step ends here.

        Args:
            tokens: Tokens of the step; None is unknown.
            samples: Samples of the step; None is unknown.
            loss: Loss of the step, as a number (``loss.item()`` where that costs nothing).
            batches: Batches that the step took (gradient accumulation).
            flops: FLOPs of the step; None is unknown.
            index: Number of the step; None counts from 0.
            epoch: Epoch of the step; None keeps the last one.
        """
        writer = self._writer
        if writer is None:
            return
        try:
            if index is not None:
                writer.next_index = index
            if flops is not None:
                writer.mark(VALUE, _FLOPS, writer.next_index, flops)
            if epoch is not None and epoch != self._epoch:
                self._epoch = epoch
                writer.mark(VALUE, _EPOCH, writer.next_index, epoch)
            if self._hook is None:
                writer.step(batches, tokens, samples, loss)
            else:
                self._hook.step(writer, batches, tokens, samples, loss)
            if writer.last_ns > self._look_ns:
                self._look(writer)
        except Exception as error:  # noqa: BLE001 - whatever a user's object raises ends here
            self._say(f"A step was not marked: {error}. hint: give numbers to step()")

    def value(self, name: str, value: float, index: int) -> None:
        """Leave a fact of step ``index`` that is known late, such as its loss."""
        if self._writer is not None and isinstance(name, str):
            self._writer.mark(VALUE, self._name_id(name), index, value)

    def resumed_from(self, run_id: str, step: int) -> None:
        """Leave the fact that the training goes on from a step of a run, as a checkpoint told."""
        if self._writer is not None:
            self._writer.mark(NOTE, self._name_id(f"{RESUMED_NOTE}{run_id}"), step, 0.0)

    def begin(self, phase: str) -> None:
        """Mark that a phase begins; phases nest and the innermost wins."""
        self._mark_phase(PHASE_BEGIN, phase)

    def end(self, phase: str) -> None:
        """Mark that a phase ends."""
        self._mark_phase(PHASE_END, phase)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Mark a phase around a block; see ``greenai.phase`` for the names."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def totals(self) -> Totals:
        """What is settled so far, from shared memory; NaN where nothing is known yet."""
        return self._region.totals() if self._region is not None else self._totals

    def stop(self, *, wait: bool | None = None) -> Totals:
        """End the run; a second call does nothing.

        Args:
            wait: Whether to wait for the derived files (steps.csv, report.html …), at most a
                minute. None waits as PID 1 of a container, whose end takes the sampler with it.

        Returns:
            The totals; where the last reading did not come within 200 ms, what is settled.
        """
        region, writer = self._region, self._writer
        if region is None or writer is None:
            return self._totals
        self._writer = None
        wait = os.getpid() == 1 if wait is None else wait
        if self._hook is not None:
            self._hook.finish(writer)
        writer.leave_notes()
        writer.mark(STOP, 0, 0, 0.0)
        writer.disarm()
        region.header[STOP_ASKED] = 2 if wait else 1
        give_up_s = time.monotonic() + STOP_WAIT_S
        while not region.totals().closed and time.monotonic() < give_up_s:
            time.sleep(0.002)
        if wait:
            self._await_end()
        self._say_troubles()
        self._totals = region.totals()
        if not self._totals.closed and self._process is not None and self._process.has_ended:
            self._say(_DEAD)
        self._let_go()
        return self._totals

    def __enter__(self) -> Self:
        """Start as for a plain loop: the first step begins here."""
        self.start()
        self.train_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, however the block ended."""
        self.stop()

    def _launch_sampler(self, region: Region, attempt_folder: Path) -> None:
        """Start the companion process; where none may be started, a thread that reads seldom."""
        try:
            self._process = SamplerProcess(region, attempt_folder / "sampler.log")
        except OSError as error:
            self._thread, what_it_means = sampler_thread(region, error)
            self._say(what_it_means)

    def _look(self, writer: MarkWriter) -> None:
        """Now and then: does the sampler live, and where does it serve?"""
        self._look_ns = writer.last_ns + LOOK_NS
        self._say_troubles()
        if self._process is not None and not self._process.look():
            self._say(_DEAD)
        if self._hook is None and self._find_hook is not None:
            self._hook = self._find_hook()
        for uuid_ in self._hook.look() if self._hook is not None else ():
            if (name := self._name_id(f"device:{uuid_}")) != _NAME_IDS["other"]:
                writer.mark(NOTE, name, 0, 0.0)

    def _say_troubles(self) -> None:
        """Say, each once, what the sampler cannot say to the one who trains."""
        if self._region is not None:
            for sentence in troubles(self._region, self.settings, self.run_folder):
                self._say(sentence)

    def _await_end(self) -> None:
        if self._process is not None:
            self._process.wait(FINISH_WAIT_S)
        if self._thread is not None:
            self._thread.join(FINISH_WAIT_S)

    def _let_go(self) -> None:
        """Drop what this process holds; the sampler ends by itself."""
        atexit.unregister(self.stop)
        region, self._region = self._region, None
        if self._thread is not None and self._thread.is_alive():
            return  # the thread still uses the memory
        if self._process is not None:
            self._process.release()
        if region is not None:
            region.close()

    def disarm(self) -> None:
        """In a forked child: this copy marks nothing, stops nothing and waits for nothing."""
        if self._writer is not None:
            self._writer.disarm()
            self._writer = None
        if self._process is not None:
            self._process.forget()
            self._process = None
        atexit.unregister(self.stop)

    def _name_id(self, name: str) -> int:
        known = _NAME_IDS.get(name)
        if known is not None:
            return known
        if self._region is not None and name not in self._own_names:
            try:
                self._own_names[name] = self._region.add_name(name)
            except OrderError as error:
                self._own_names[name] = _NAME_IDS["other"]
                self._say(error.what)
        return self._own_names.get(name, _NAME_IDS["other"])

    def _mark_phase(self, kind: int, phase: str) -> None:
        if phase not in _PHASES:
            self._say(f"Unknown phase {phase!r}: its time stays where it is. Known: {_PHASES}.")
        elif self._writer is not None:
            self._writer.mark(kind, _NAME_IDS[phase], 0, 0.0)

    def _say(self, text: str) -> None:
        """Log a sentence once; nothing of ours raises or repeats itself in a training."""
        if text not in self._said:
            self._said.add(text)
            _log.warning(text)
