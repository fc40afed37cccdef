"""Laws of the load: busy over total between two calls, guests once, short spans not rounded."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from greenai.sensors.load import SHORTEST_NS, LoadMeter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stat:
    """A /proc/stat whose ticks a test adds."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self._ticks = [0] * 10
        (proc / "stat").write_text(self._line())

    def add(self, **ticks: int) -> None:
        names = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"]
        for name, more in ticks.items():
            self._ticks[names.index(name)] += more
        descriptor = os.open(self.proc / "stat", os.O_WRONLY)
        os.pwrite(descriptor, self._line().encode(), 0)
        os.close(descriptor)

    def _line(self) -> str:
        return f"cpu  {' '.join(f'{tick:>8}' for tick in self._ticks)}\ncpu0 1 2 3\n"


@pytest.fixture
def stat(tmp_path: Path) -> Stat:
    return Stat(tmp_path)


@pytest.fixture
def meter(stat: Stat) -> Iterator[LoadMeter]:
    meter = LoadMeter(str(stat.proc))
    yield meter
    meter.close()


def wait() -> None:
    time.sleep(SHORTEST_NS * 1.1 / 1e9)


def test_load_is_busy_over_total_since_the_last_call(stat: Stat, meter: LoadMeter) -> None:
    stat.add(user=30, idle=70)
    wait()
    load = meter.read()
    assert load is not None
    assert load.ratio == pytest.approx(0.3)
    stat.add(system=5, irq=5, idle=5, iowait=5)
    wait()
    after = meter.read()
    assert after is not None
    assert after.ratio == pytest.approx(0.5)
    assert after.t0_ns == load.t1_ns


def test_guests_are_counted_once(stat: Stat, meter: LoadMeter) -> None:
    stat.add(user=50, guest=50, idle=50)
    wait()
    load = meter.read()
    assert load is not None
    assert load.ratio == pytest.approx(0.5)


def test_the_first_span_begins_when_the_meter_opens(stat: Stat) -> None:
    before_ns = time.monotonic_ns()
    meter = LoadMeter(str(stat.proc))
    after_ns = time.monotonic_ns()
    stat.add(idle=1)
    wait()
    load = meter.read()
    meter.close()
    assert load is not None
    assert before_ns <= load.t0_ns <= after_ns


def test_too_short_a_start_tells_nothing_and_loses_nothing(stat: Stat, meter: LoadMeter) -> None:
    stat.add(user=1)
    assert meter.read() is None
    stat.add(idle=1)
    wait()
    load = meter.read()
    assert load is not None
    assert load.ratio == pytest.approx(0.5)


def test_a_short_span_takes_the_load_from_before_it(stat: Stat, meter: LoadMeter) -> None:
    stat.add(user=30, idle=70)
    wait()
    first = meter.read()
    stat.add(user=20, idle=80)
    second = meter.read()  # at once: its own span would be rounding alone
    assert first is not None
    assert second is not None
    assert second.ratio == pytest.approx(0.25)
    assert second.t0_ns == first.t1_ns


def test_a_count_that_runs_backwards_is_no_load_below_zero(stat: Stat, meter: LoadMeter) -> None:
    stat.add(idle=100)
    wait()
    meter.read()
    stat.add(iowait=-5, idle=50, user=-10)
    wait()
    load = meter.read()
    assert load is None or 0 <= load.ratio <= 1


@pytest.mark.parametrize("text", ["", "cpu  1 2\n", "cpu  a b c d e f\n"])
def test_a_file_that_tells_no_load_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    with pytest.raises(OSError, match="begins with"):
        LoadMeter(str(tmp_path))


def test_the_load_of_this_machine_is_a_share(meter: LoadMeter) -> None:
    del meter
    real = LoadMeter()
    wait()
    load = real.read()
    real.close()
    real.close()
    assert load is not None
    assert 0 <= load.ratio <= 1
