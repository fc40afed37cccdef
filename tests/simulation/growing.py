"""A record that grows on disk as a sampler writes it, second by second, in virtual time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, marks_of

from greenai.record.manifest import write_run_manifest
from greenai.record.types import NOTE, PHASE_BEGIN, PHASE_END, STEP_END, STOP, VALUE, Anchor
from greenai.record.writer import RecordWriter

if TYPE_CHECKING:
    from pathlib import Path

S = 1000 * MS
UTC_NS = 1_790_000_000 * S


class GrowingRun:
    """One attempt of one rank: steps of ``step_s`` under power that swings, with validations.

    Args:
        folder: The run folder.
        seconds: Length of the run.
        step_s: Length of a step.
        rank: Global rank.
        launch: What its attempt's folder is called after.
        begin_s: When it begins, in seconds since START_NS.
        first_step: Index of its first step.
        channels: Channels to read; one GPU by default.
        manifest: Facts of the run.

    Attributes:
        live: What live.json says besides.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = 12.0,
        step_s: float = 0.11,
        rank: int = 0,
        ranks: int = 1,
        launch: str = "a",
        begin_s: float = 0.0,
        first_step: int = 0,
        channels: tuple[dict[str, Any], ...] = ({},),
        **manifest: Any,
    ) -> None:
        self.folder = folder
        self.attempt = folder / f"rank-{rank}" / f"attempt-{launch}"
        self.attempt.mkdir(parents=True)
        facts = {"run_id": "abc", "variant": "dense", "project": "p", "config": {}}
        settings = {"country": "FRA", "region": None, "pue": 1.2}
        facts["settings"] = {name: {"value": value} for name, value in settings.items()}
        if not (folder / "manifest.json").exists():
            write_run_manifest(folder, facts | manifest)
        self.channels = [a_channel(**one) for one in channels]
        self._writer = RecordWriter(self.attempt)
        marks = _marks(seconds, step_s, first_step)
        shift_ns = int(begin_s * S)
        self._names = marks.names
        columns = [getattr(marks, n).tolist() for n in ("kind", "name", "index", "value")]
        self._marks = list(zip((marks.t_ns + shift_ns).tolist(), *columns, strict=True))
        self._readings = sorted(
            (
                (place, int(lo) + shift_ns, int(hi) + shift_ns, float(value), int(kind))
                for place, channel in enumerate(self.channels)
                for lo, hi, value, kind in zip(*_read(channel, place, seconds), strict=True)
            ),
            key=lambda row: row[2],
        )
        self.live: dict[str, Any] = {}
        self._now_ns = START_NS + shift_ns
        self._end_ns = self._marks[-1][0]
        self._facts = {
            "run_id": facts["run_id"] if not manifest else manifest.get("run_id", "abc"),
            "launch_id": launch, "rank": rank, "local_rank": rank, "world_size": ranks,
            "started_utc": f"2026-10-01T00:00:{int(begin_s):02d}+00:00", "devices_wanted": None,
            "refused": [], "versions": {},
        }  # fmt: skip
        self._write_manifest()

    @property
    def done(self) -> bool:
        """Whether all of it is on disk."""
        return self._now_ns > self._end_ns + S // 2

    def grow(self, seconds: float = 1.0) -> bool:
        """Write what the next second brings; at the end also that it was the end."""
        self._now_ns += int(seconds * S)
        anchor = Anchor(self._now_ns, UTC_NS + self._now_ns, self._now_ns)
        readings = [row for row in self._readings if row[2] <= self._now_ns]
        marks = [row for row in self._marks if row[0] <= self._now_ns]
        self._readings, self._marks = self._readings[len(readings) :], self._marks[len(marks) :]
        self._writer.write_readings(readings, anchor)
        self._writer.write_marks(marks, anchor)
        if self.done:
            self._writer.write_event(self._now_ns, "stopped", "")
            self._writer.close()
        live = {"settled_ns": self._now_ns, "closed": self.done, **self.live}
        self._writer.write_live(live)
        return not self.done

    def finish(self) -> None:
        """Write all the rest."""
        while self.grow():
            pass

    def say(self, what: str, reason: str) -> None:
        """Write an event."""
        self._writer.write_event(self._now_ns, what, reason, device="gpu0")

    def remove(self) -> None:
        """Remove the whole run."""
        self._writer.close()
        shutil.rmtree(self.folder)

    def _write_manifest(self) -> None:
        channels = [channel.to_json() for channel in self.channels]
        self._writer.write_manifest(
            {**self._facts, "channels": channels, "names": list(self._names)}
        )


def _read(channel: Any, place: int, seconds: float) -> tuple[Any, ...]:
    counter = SimulatedCounter(lambda t: 300 * t + 30 * np.sin(3 * t), phase=0.3 * place)
    found = counter.readings(seconds, channel)
    return found.t_lo_ns, found.t_hi_ns, found.value, found.kind


def _marks(seconds: float, step_s: float, index: int) -> Any:
    t_ns = START_NS + S // 2
    rows: list[tuple[int, int, str, int, float]] = [(t_ns, NOTE, "train_start", 0, 0.0)]
    while t_ns + int(step_s * S) < START_NS + int((seconds - 1.5) * S):
        t_ns += int(step_s * S)
        if index % 10 == 5:
            rows += [(t_ns - 30 * MS, PHASE_BEGIN, "validation", 0, 0.0)]
            rows += [(t_ns - 10 * MS, PHASE_END, "validation", 0, 0.0)]
        rows += [
            (t_ns, VALUE, "tokens", index, 512.0),
            (t_ns, VALUE, "loss", index, 9.0 / (index + 1)),
        ]
        rows.append((t_ns, STEP_END, "", index, 1.0))
        index += 1
    return marks_of([*rows, (t_ns + 1, STOP, "", 0, 0.0)])
