"""What the simulated boards draw and show, in Python: fake_nvml_board.h says what the knobs mean.

The truth that tests compare with, and the figures of the twin, come from here; a test holds this
and the C source together. Times are seconds since T0.
"""

from __future__ import annotations

import bisect
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_BIT = 2**64 - 1


class Knobs:
    """Settings by name, in capitals and without FAKE_NVML_."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str, otherwise: str = "") -> str:
        return self._given.get(name) or otherwise

    def number(self, name: str, otherwise: float) -> float:
        return float(self.text(name, str(otherwise)))

    def listed(self, name: str, board: int) -> bool:
        text = self.text(name)
        return text == "all" or str(board) in text.split(",")


class Wave:
    """The wave that all boards draw, without what a board draws on top."""

    def __init__(self, knobs: Knobs) -> None:
        self._low_w = knobs.number("LOW_W", 100)
        self._high_w = knobs.number("HIGH_W", self._low_w)
        self._wave_s = knobs.number("WAVE_MS", 500) / 1e3
        self._duty = knobs.number("DUTY", 0.5)
        self._sine = knobs.text("WAVE") == "sine"
        self._at_s: list[float] = []
        self._watts: list[float] = []
        self._sum_j: list[float] = []
        if path := knobs.text("FILE"):
            rows = [line.split(",") for line in Path(path).read_text().splitlines()]
            self._at_s = [float(row[0]) for row in rows]
            self._watts = [float(row[1]) for row in rows]
            widths = [after - before for before, after in itertools.pairwise(self._at_s)]
            parts = (w * s for w, s in zip(self._watts, widths, strict=False))
            self._sum_j = list(itertools.accumulate(parts, initial=0.0))

    def power_w(self, t_s: float) -> float:
        if self._at_s:
            return self._watts[self._row(t_s)]
        rest_s = t_s - math.floor(t_s / self._wave_s) * self._wave_s
        if self._sine:
            middle_w, half_w = self._middle_and_half_w()
            return middle_w + half_w * math.sin(2 * math.pi * rest_s / self._wave_s)
        return self._high_w if rest_s < self._wave_s * self._duty else self._low_w

    def energy_j(self, t_s: float) -> float:
        """Energy since T0."""
        if self._at_s:
            return self._file_j(t_s) - self._file_j(0)
        waves = math.floor(t_s / self._wave_s)
        rest_s = t_s - waves * self._wave_s
        if self._sine:
            middle_w, half_w = self._middle_and_half_w()
            angle = 2 * math.pi * rest_s / self._wave_s
            swing_j = half_w * self._wave_s / (2 * math.pi) * (1 - math.cos(angle))
            return middle_w * t_s + swing_j
        high_s = self._wave_s * self._duty
        swing_w = self._high_w - self._low_w
        return self._low_w * t_s + swing_w * (waves * high_s + min(rest_s, high_s))

    def _middle_and_half_w(self) -> tuple[float, float]:
        return (self._low_w + self._high_w) / 2, (self._high_w - self._low_w) / 2

    def _row(self, t_s: float) -> int:
        return max(bisect.bisect_right(self._at_s, t_s) - 1, 0)

    def _file_j(self, t_s: float) -> float:
        row = self._row(t_s)
        return self._sum_j[row] + self._watts[row] * (t_s - self._at_s[row])


class Boards:
    """All boards: the truth about each, and what its sensor makes of it.

    Args:
        knobs: The settings.
    """

    def __init__(self, knobs: Knobs) -> None:
        self.count = int(knobs.number("GPUS", 1))
        self.base_j = knobs.number("BASE_J", 1000)
        self._wave = Wave(knobs)
        self._step_w = knobs.number("STEP_W", 0)
        self._cpu_w = knobs.number("CPU_W", 0)
        self._refresh_s = knobs.number("REFRESH_MS", 100) / 1e3
        self._phase_s = knobs.number("PHASE_MS", 0) / 1e3
        self._stagger_s = knobs.number("STAGGER_MS", 0) / 1e3
        self._jitter_s = knobs.number("JITTER_MS", 0) / 1e3
        self._seed = int(knobs.number("SEED", 0))
        self._instant_s = knobs.number("INSTANT_MS", 0) / 1e3
        self._part = knobs.number("PART", 1)

    def power_w(self, board: int, t_s: float, *, module: bool = False) -> float:
        return self._wave.power_w(max(t_s, 0)) + self._extra_w(board, module=module)

    def energy_j(self, board: int, t_s: float, *, module: bool = False) -> float:
        """True energy since T0 of a GPU, or of the module around it."""
        if t_s <= 0:
            return 0.0
        return self._wave.energy_j(t_s) + self._extra_w(board, module=module) * t_s

    def refreshed_s(self, board: int, t_s: float) -> float:
        """Moment of the latest refresh."""
        return self._refresh_at(board, self._latest(board, t_s)) if self._refresh_s > 0 else t_s

    def counted_j(self, board: int, t_s: float, *, module: bool = False) -> float:
        """What the counter has counted since T0 at its latest refresh."""
        if self._part >= 1 or self._refresh_s <= 0:
            return self.energy_j(board, self.refreshed_s(board, t_s), module=module)
        seen_s, sum_j, before_s = self._part * self._refresh_s, 0.0, 0.0
        for number in range(self._latest(board, 0) + 1, self._latest(board, t_s) + 1):
            at_s = self._refresh_at(board, number)
            seen_j = self.energy_j(board, at_s, module=module)
            seen_j -= self.energy_j(board, at_s - seen_s, module=module)
            sum_j += seen_j * (at_s - before_s) / seen_s
            before_s = at_s
        return sum_j

    def instant_w(self, board: int, t_s: float, *, module: bool = False) -> float:
        at_s = self.refreshed_s(board, t_s)
        return self._mean_w(board, at_s - self._instant_s, at_s, module=module)

    def average_w(self, board: int, t_s: float, *, module: bool = False) -> float:
        """Mean of the second before the latest refresh, as Ampere and newer have it."""
        at_s = self.refreshed_s(board, t_s)
        return self._mean_w(board, at_s - 1, at_s, module=module)

    def _mean_w(self, board: int, from_s: float, to_s: float, *, module: bool) -> float:
        from_s = max(from_s, 0)
        if to_s - from_s <= 0:
            return self.power_w(board, to_s, module=module)
        used_j = self.energy_j(board, to_s, module=module)
        used_j -= self.energy_j(board, from_s, module=module)
        return used_j / (to_s - from_s)

    def _extra_w(self, board: int, *, module: bool) -> float:
        return board * self._step_w + (self._cpu_w if module else 0)

    def _latest(self, board: int, t_s: float) -> int:
        phase_s = self._phase_s + board * self._stagger_s
        number = math.floor((t_s - phase_s) / self._refresh_s)
        return number - 1 if self._refresh_at(board, number) > t_s else number

    def _refresh_at(self, board: int, number: int) -> float:
        phase_s = self._phase_s + board * self._stagger_s
        late_s = self._jitter_s * self._lateness(board, number)
        return number * self._refresh_s + phase_s + late_s

    def _lateness(self, board: int, number: int) -> float:
        """Share of the jitter by which a refresh is late: the same each time it is asked for."""
        mixed = (self._seed * 64 + board) * 0x9E3779B97F4A7C15 + number
        mixed = (mixed + 0x9E3779B97F4A7C15) & EVERY_BIT
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & EVERY_BIT
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & EVERY_BIT
        return ((mixed ^ mixed >> 31) >> 11) / 2**53
