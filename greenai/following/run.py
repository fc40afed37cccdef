"""One run, followed: its attempts and ranks joined, its totals, and its curves kept short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai import grid
from greenai.analysis.decimation import Decimated
from greenai.errors import GreenAIError, GridError, RecordError
from greenai.exporters.wording import printable
from greenai.following.attempt import AttemptFollower, News, StepRows
from greenai.following.joined import StepJoin
from greenai.metrics import PHASES
from greenai.record.manifest import MANIFEST, read_run_manifest
from greenai.record.reader import attempt_folders
from greenai.record.tail import ReplacedError
from greenai.units import emissions_g

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.units import Floats

EVENTS_KEPT = 100
SPANS_KEPT = 400
GONE = "The run's folder is gone: what is shown is what was there."
NAME_MAX = 60
"""Of a device: the legend of a plot has no room for more."""
_STEPS = [PHASES.index("train_step"), PHASES.index("data_wait")]
_NAMES = ("duration_s", "batches", "tokens", "samples", "flops")


class RunFollower:
    """Follows a run folder, live or finished.

    Args:
        folder: The run folder.

    Attributes:
        manifest: The run's manifest.
        curves: By key: ``power:<rank>:<device>``, ``step_j``, ``j_per_token``, ``loss``,
            ``co2e_g``, and ``intensity`` where it changes with time.
        spans: Time outside of steps: phase, begin and end in seconds since the start.
        events: The latest gaps, warnings and failed reads.
        problem: What the manifest lacks; empty while all is well.
        trouble: Why the last look could not read all; empty where it could.

    Raises:
        RecordError: It is no run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = {}
        self.attempts: dict[Path, AttemptFollower] = {}
        self.curves: dict[str, Decimated] = {}
        self.spans: list[tuple[str, float, float]] = []
        self.events: list[dict[str, Any]] = []
        self.problem = ""
        self.trouble = ""
        self.sums = dict.fromkeys(_NAMES, 0.0)
        self.steps = 0
        self.known_steps = 0
        self.known_tokens = 0.0
        self.last: dict[str, float] = {}
        self._joins: dict[str, StepJoin] = {}
        self._intensity: grid.Intensity | None = None
        self.pue: float | None = None
        self._over_time = False
        self._read_manifest()

    @property
    def start_s(self) -> float:
        """UTC seconds of the earliest first mark; NaN before any."""
        starts = [one.start_s for one in self.attempts.values() if math.isfinite(one.start_s)]
        return min(starts, default=math.nan)

    @property
    def intensity(self) -> grid.Intensity | None:
        """Yearly factor of the recorded place; None where the manifest names none that is known."""
        return self._intensity

    def look(self) -> bool:
        """Read and attribute what is new.

        Returns:
            Whether there is more to read at once.

        Raises:
            ReplacedError: The record is another one than before: follow it anew.
            RecordError: What is there cannot be read.
        """
        if not self.manifest:
            self._read_manifest()
        for rank, folder in attempt_folders(self.folder):
            if folder not in self.attempts:
                self.attempts[folder] = AttemptFollower(rank, folder)
        launches: dict[str, list[AttemptFollower]] = {}
        for one in self.attempts.values():
            launches.setdefault(one.folder.name, []).append(one)
        ordered = sorted(launches.items(), key=lambda item: _started(item[1]))
        # A later launch comes after an earlier one on the time axis.
        return any(self._look_at_launch(name, ranks) for name, ranks in ordered)

    def settled_j(self) -> Floats:
        """Settled energy in joules by phase, the open step's in ``train_step``. Shape (phases,).

        NaN where nobody meters.
        """
        total = np.full(len(PHASES), np.nan)
        for one in self.attempts.values():
            traced = one.traced
            if traced.channels and traced.settled_ns is not None:
                phase_j = traced.phase_j.sum(axis=0)
                phase_j[_STEPS[0]] += float(traced.settled_j.sum()) - float(phase_j.sum())
                total = np.nan_to_num(total) + phase_j
        return total

    def totals(self) -> dict[str, float]:
        """What the run has cost so far; NaN where unknown."""
        closed_j = [
            one.traced.phase_j[:, _STEPS].sum()
            for one in self.attempts.values()
            if one.traced.channels
        ]
        energy_j = float(self.settled_j().sum())
        steps_j = float(sum(closed_j)) if closed_j else math.nan
        lengths_s: dict[str, float] = {}
        for one in self.attempts.values():
            name = one.folder.name
            lengths_s[name] = max(lengths_s.get(name, 0.0), one.length_s)
        emitted_g, g_per_kwh = self._emitted(energy_j)
        return {
            "energy_j": energy_j,
            "steps_j": steps_j,
            "power_w": self._power_w(),
            "steps": float(self.steps),
            **{name: self.sums[name] for name in ("tokens", "samples", "batches", "flops")},
            "j_per_step": steps_j / self.known_steps if self.known_steps else math.nan,
            "j_per_token": steps_j / self.known_tokens if self.known_tokens else math.nan,
            "duration_s": sum(lengths_s.values()),
            "operational_co2e_g": emitted_g,
            "intensity_g_per_kwh": g_per_kwh,
            "pue": math.nan if self.pue is None else self.pue,
            **{name: self.last.get(name, math.nan) for name in ("step", "loss")},
            "settled_unix_s": max(
                (one.settled_s for one in self.attempts.values() if not math.isnan(one.settled_s)),
                default=math.nan,
            ),
        }

    def latest(self) -> list[AttemptFollower]:
        """The ranks of the latest launch, in order."""
        attempts = self.attempts.values()
        name = max(attempts, key=lambda one: _started([one])).folder.name if attempts else ""
        found = [one for one in attempts if one.folder.name == name]
        return sorted(found, key=lambda one: one.rank)

    def state(self) -> str:
        """``live``, ``stopped``, ``parent_died``, ``silent`` or ``waiting``."""
        latest = self.latest()
        if not latest:
            return "waiting"
        if any(not one.ended and not one.silent for one in latest):
            return "live"
        ends = {one.ended or ("stopped" if one.stopped else "silent") for one in latest}
        return next(end for end in ("silent", "parent_died", "stopped") if end in ends)

    def share_read(self) -> float:
        """How much of the record has been read, 0 to 1."""
        shares = [one.share_read for one in self.attempts.values()]
        return sum(shares) / len(shares) if shares else 1.0

    def notices(self) -> list[str]:
        """What a reader must know, in sentences."""
        said = [text for text in (self.trouble, self.problem) if text]
        for one in self.attempts.values():
            rank = f"Rank {one.rank}: " if one.rank else ""
            said.extend(f"{rank}{problem}" for problem in one.problems)
            refused = one.manifest.get("refused")
            for refusal in refused if isinstance(refused, list) else []:
                if isinstance(refusal, dict) and refusal.get("hint"):
                    text = f"{refusal.get('sensor')} is not metered: {refusal.get('reason')}"
                    said.append(f"{rank}{text} hint: {refusal['hint']}")
        if self._intensity is not None and self._intensity.is_world_average:
            said.append("No country was named: emissions are those of the world's average grid.")
        return list(dict.fromkeys(said))

    def _look_at_launch(self, name: str, ranks: list[AttemptFollower]) -> bool:
        counted: set[tuple[str, str]] = set()
        found: dict[int, News] = {}
        for one in sorted(ranks, key=lambda rank: rank.rank):
            found[one.rank] = one.look(frozenset(counted))
            if not one.closed and not found[one.rank].more and one.silent:
                late = one.close()
                for field in ("steps", "power", "loss", "phases"):
                    getattr(found[one.rank], field).extend(getattr(late, field))
            counted |= {(c.device_key, c.kind) for c in one.traced.channels}
        join = self._joins.setdefault(name, StepJoin())
        silent = frozenset(one.rank for one in ranks if _meters_nothing(one))
        join.add({rank: news.steps for rank, news in found.items()}, silent=silent)
        self._add_steps(join.take({one.rank: not one.closed for one in ranks}))
        for rank, news in found.items():
            self._add_news(rank, news, first=rank == min(found))
        more = any(news.more for news in found.values())
        self._add_emissions(ranks, more=more)
        return more

    def _add_steps(self, steps: StepRows) -> None:
        if len(steps.number) == 0:
            return
        energy_j, low_j, high_j, *others = steps.values
        work = dict(zip(_NAMES, others, strict=True))
        for name, values in work.items():
            self.sums[name] += float(values.sum())
        known = np.isfinite(energy_j)
        self.steps += len(steps.number)
        self.known_steps += int(known.sum())
        self.known_tokens += float(work["tokens"][known].sum())
        self.last["step"] = float(steps.number[-1])
        t_s = steps.end_s - self.start_s
        self._curve("step_j").add(t_s, low_j, energy_j, high_j)
        tokens = np.where(work["tokens"] > 0, work["tokens"], np.nan)
        if np.isfinite(tokens).any() or "j_per_token" in self.curves:
            parts = (low_j / tokens, energy_j / tokens, high_j / tokens)
            self._curve("j_per_token").add(t_s, *parts)

    def _add_news(self, rank: int, news: News, *, first: bool) -> None:
        for channel, t_s, power_w in news.power:
            curve = self._curve(f"power:{rank}:{printable(channel.device, NAME_MAX)}")
            curve.add(t_s - self.start_s, power_w, power_w, power_w)
        if first:
            for t_s, loss in news.loss:
                self._curve("loss").add(t_s - self.start_s, loss, loss, loss)
                self.last["loss"] = float(loss[-1])
            for phase, begin_s, end_s in news.phases:
                self._add_span(phase, begin_s - self.start_s, end_s - self.start_s)
        for event in news.events:
            self.events.append({**event, "t_s": event["t_s"] - self.start_s})
        del self.events[:-EVENTS_KEPT]

    def _add_emissions(self, ranks: list[AttemptFollower], *, more: bool) -> None:
        """Add what has been emitted until now; where that is told from outside, only of now."""
        energy_j = float(self.settled_j().sum())
        if energy_j <= self.last.get("energy_j", 0.0) or (self._over_time and more):
            return
        self.last["energy_j"] = energy_j
        at_s = max((one.settled_s for one in ranks if one.settled_s > 0), default=math.nan)
        emitted_g, g_per_kwh = self._emitted(energy_j)
        self._add_point("co2e_g", at_s, emitted_g)
        if self._over_time:
            self._add_point("intensity", at_s, g_per_kwh)

    def _emitted(self, energy_j: float) -> tuple[float, float]:
        """Emissions so far in gCO2e and the intensity now; NaN where unknown.

        Where the intensity changes with time, the samplers tell: they have the series, and the
        record holds its name alone.
        """
        if self._over_time:
            told = [one.live.get("operational_co2e_g") for one in self.attempts.values()]
            known_g = [one for one in told if isinstance(one, float)]
            if told and len(known_g) == len(told):
                figures = self.latest()[0].live.get("figures")
                now = figures.get("intensity_g_per_kwh") if isinstance(figures, dict) else None
                return math.fsum(known_g), now if isinstance(now, float) else math.nan
        g_per_kwh = math.nan if self._intensity is None else self._intensity.g_per_kwh
        return emissions_g(energy_j, g_per_kwh, self.pue or 1.0), g_per_kwh

    def _add_span(self, phase: str, begin_s: float, end_s: float) -> None:
        """Add time outside of steps; what follows on the same phase is one span."""
        last = self.spans[-1] if self.spans else ("", 0.0, -1.0)
        if last[0] == phase and begin_s - last[2] < 1e-6:  # noqa: PLR2004 - a microsecond
            self.spans[-1] = (phase, last[1], end_s)
        elif end_s > begin_s:
            self.spans.append((phase, begin_s, end_s))
        if len(self.spans) > SPANS_KEPT:  # the shortest cannot be seen beside the others
            lengths = sorted(end - begin for _, begin, end in self.spans)
            least_s = lengths[SPANS_KEPT // 2]
            self.spans = [span for span in self.spans if span[2] - span[1] > least_s]

    def _add_point(self, key: str, at_s: float, value: float) -> None:
        if math.isfinite(at_s) and math.isfinite(value):
            one = np.array([value])
            self._curve(key).add(np.array([at_s - self.start_s]), one, one, one)

    def _curve(self, key: str) -> Decimated:
        return self.curves.setdefault(key, Decimated())

    def _power_w(self) -> float:
        """Latest power of all devices; unknown where one of a live run is."""
        powers = [
            power_w
            for one in self.attempts.values()
            if not one.ended and not one.closed
            for power_w in one.traced.power_w
        ]
        return float(sum(powers)) if powers else math.nan

    def _read_manifest(self) -> None:
        """Read the run's manifest; without one (rank 0 has died early) its place is unknown."""
        if not (self.folder / MANIFEST).exists():
            return
        try:
            self.manifest = read_run_manifest(self.folder)
        except RecordError as error:
            if not (self.folder / "rank-0").is_dir():  # a manifest.json of something else
                raise
            self.problem = f"{error.what} Variant and place are unknown."
            return
        self.problem = ""
        settings = self.manifest.get("settings")
        pue = _setting(settings, "pue")
        self._over_time = _setting(settings, "intensity_file") is not None
        self.pue = float(pue) if type(pue) in {int, float} and pue >= 1 else None
        place = [_setting(settings, name) for name in ("country", "region", "intensity_table")]
        try:
            country, region, table = (one if isinstance(one, str) else None for one in place)
            table = table if table in grid.TABLES else None  # a record names no file to be read
            self._intensity = grid.intensity(country, region, table)
        except GridError as error:
            self.problem = f"{error.what} Emissions are unknown."


def follow(folder: Path, known: RunFollower | None) -> tuple[RunFollower | None, bool]:
    """Follow a run one look further; where its record was replaced, from its beginning.

    Returns:
        The follower (None where there is no run that can be followed), and whether there is more
        to read at once.
    """
    try:
        follower = known or RunFollower(folder)
    except RecordError:
        return None, False
    try:
        more = follower.look()
    except ReplacedError:
        if not folder.is_dir():
            follower.trouble = GONE
            return follower, False
        return follow(folder, None) if known is not None else (None, False)
    except GreenAIError as error:
        follower.trouble = error.what
        return follower, False
    if follower.attempts and not folder.is_dir():
        follower.trouble = GONE
        return follower, False
    follower.trouble = ""
    return follower, more


def _started(ranks: list[AttemptFollower]) -> tuple[str, str]:
    """What orders launches: their start as the manifests say it."""
    return min(one.started for one in ranks), ranks[0].folder.name


def _meters_nothing(one: AttemptFollower) -> bool:
    """Whether a rank meters nothing and was not asked to: others count what it runs on."""
    return not one.traced.channels and not one.manifest.get("devices_wanted")


def _setting(settings: Any, name: str) -> Any:
    entry = settings.get(name) if isinstance(settings, dict) else None
    return entry.get("value") if isinstance(entry, dict) else None
