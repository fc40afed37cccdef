"""What a record holds once it is read: attempts with their channels, readings, marks and events."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from greenai.sensors.base import Channel
    from greenai.units import Floats, Ns

SCHEMA_VERSION = 1
"""Of the files on disk; a reader refuses every other one."""

CHANGE = 0
"""Reading kind: the value changed between the bracket's two ends."""
FIRST = 1
"""Reading kind: first value after a start or a gap; the bracket is the read itself, age unknown."""
STILL = 2
"""Reading kind: polled again, value unchanged (at most one a second)."""

PHASE_BEGIN = 1
"""Mark kind: ``name`` is a phase."""
PHASE_END = 2
"""Mark kind: ``name`` is the phase that ends."""
STEP_END = 3
"""Mark kind: optimizer step ``index`` ended here; ``value`` is the number of its batches."""
VALUE = 4
"""Mark kind: ``name`` had ``value`` in step ``index``; it may come later than the step's end."""
GPU_TIME = 5
"""Mark kind: the mark at position ``index`` happened at GPU time ``value``."""
NOTE = 6
"""Mark kind: ``name`` says what; ``index`` how often (``marks_dropped``, ``other_thread``).
``device:<UUID>`` says that the training uses that GPU; ``resumed_from:<run_id>`` that it goes on
from step ``index`` of that run, as a checkpoint told."""
STOP = 7
"""Mark kind: the training called stop."""

RESUMED_NOTE = "resumed_from:"
"""How the name of a note begins that tells from which run a training goes on."""

FIXED_NAMES = (
    "setup",
    "data_wait",
    "validation",
    "checkpoint",
    "test",
    "predict",
    "other",
    "tokens",
    "samples",
    "batches",
    "flops",
    "loss",
    "epoch",
    "marks_dropped",
    "other_thread",
    "train_start",
    "gpu_probe",
    "forward",
    "backward",
    "optimizer",
)
"""Names that every table of names begins with; the position is the name id."""

Ended = Literal["stopped", "parent_died", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelReadings:
    """Change points of one channel in time order; arrays of one length.

    Attributes:
        channel: What the values mean.
        t_lo_ns: Bracket start: the value was not yet seen, or (FIRST) when the read began.
        t_hi_ns: Bracket end: the read that saw the value had returned.
        value: In the unit of the channel's quantity.
        kind: CHANGE, FIRST or STILL.
    """

    channel: Channel
    t_lo_ns: Ns
    t_hi_ns: Ns
    value: Floats
    kind: npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, slots=True)
class Marks:
    """Marks in the order in which the training left them; arrays of one length.

    Attributes:
        t_ns: Monotonic clock of the training process.
        kind: One of the mark kinds.
        name: Position in ``names``.
        index: Step or count, by kind.
        value: Fact, by kind; NaN is a value too.
        names: Table of names.
    """

    t_ns: Ns
    kind: npt.NDArray[np.uint8]
    name: npt.NDArray[np.uint16]
    index: npt.NDArray[np.int64]
    value: Floats
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Anchor:
    """One moment on three clocks, in nanoseconds."""

    monotonic_ns: int
    utc_ns: int
    boottime_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One start of one rank.

    Attributes:
        folder: Where it was read from.
        rank: Global rank.
        attempt: Order of the launches of the run, from 0.
        launch_id: What tells one launch from another.
        manifest: The attempt's manifest as written.
        channels: Every channel that was accepted.
        readings: Per channel, in the order of ``channels``.
        marks: Marks of this rank.
        events: Gaps, warnings and failed reads, each with t_ns and a reason.
        anchors: Clock anchors in time order, at least one.
        ended: How the attempt ended, derived from the files.
        problems: What was cut or is missing, in sentences; empty when all is well.
    """

    folder: Path
    rank: int
    attempt: int
    launch_id: str
    manifest: dict[str, Any]
    channels: tuple[Channel, ...]
    readings: tuple[ChannelReadings, ...]
    marks: Marks
    events: tuple[dict[str, Any], ...]
    anchors: tuple[Anchor, ...]
    ended: Ended
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """All that is on disk of one run.

    Attributes:
        folder: The run folder.
        manifest: The run's manifest as written by global rank 0.
        attempts: Ordered by attempt, then rank.
        problems: What was left out of the whole run, in sentences; what is missing within an
            attempt stands there.
    """

    folder: Path
    manifest: dict[str, Any]
    attempts: tuple[Attempt, ...]
    problems: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """Identity of the run."""
        return str(self.manifest["run_id"])

    @property
    def variant(self) -> str:
        """What is compared: the name that repeats of one thing share; may be empty."""
        return str(self.manifest.get("variant") or "")
