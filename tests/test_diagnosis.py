"""Laws of what readings tell of a device, judged by simulated devices whose truth is known."""

from __future__ import annotations

import dataclasses
import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from simulation.counters import a_channel
from simulation.virtual import MS, VirtualBoard, VirtualClock, constant_w, sine_w

from greenai.diagnosis import Vitals, changes, cross_check, seen_of, vitals
from greenai.examination import Poll, mark_cost, poll
from greenai.sensors.base import Reading

if TYPE_CHECKING:
    from greenai.diagnosis import CrossCheck

SECONDS = 3.0


def polls_of(board: VirtualBoard, seconds: float = SECONDS) -> list[Poll]:
    return poll(board, seconds, board.clock.clock_ns, board.clock.sleep_s)


def vitals_of(board: VirtualBoard, position: int = 0, seconds: float = SECONDS) -> Vitals:
    return vitals(polls_of(board, seconds), position, board.channels[position])


def check_of(board: VirtualBoard, seconds: float = SECONDS) -> CrossCheck:
    polls = polls_of(board, seconds)
    counter = changes(seen_of(polls, 0, board.counter), board.counter.refresh_ns)
    return cross_check(counter, seen_of(polls, 1, board.channels[1]))


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.77])
@pytest.mark.parametrize("refresh_ms", [20, 100])
def test_the_refresh_is_found_within_a_few_milliseconds(refresh_ms: int, phase: float) -> None:
    board = VirtualBoard(VirtualClock(), constant_w(75), refresh_ms=refresh_ms, phase=phase)
    found = vitals_of(board)
    assert found.refresh_resolved
    assert found.refresh_ms == pytest.approx(refresh_ms, abs=2)
    assert refresh_ms - 7 < found.refresh_p5_ms <= found.refresh_ms <= found.refresh_p95_ms
    assert found.refresh_p95_ms < refresh_ms + 7
    assert found.refresh_changes == pytest.approx(SECONDS * 1e3 / refresh_ms, abs=2)


@pytest.mark.parametrize("refresh_ms", [20, 100])
@pytest.mark.parametrize("watts", [20, 75, 700])
def test_power_is_right_within_one_percent(refresh_ms: int, watts: float) -> None:
    board = VirtualBoard(VirtualClock(), constant_w(watts), refresh_ms=refresh_ms)
    assert vitals_of(board).power_w == pytest.approx(watts, rel=0.01)
    assert vitals_of(board, position=1).power_w == pytest.approx(watts, rel=0.01)


def test_a_machine_that_stalls_spoils_neither_power_nor_check() -> None:
    board = VirtualBoard(VirtualClock(), constant_w(75))
    real, stalls = board.clock.sleep_s, iter([0.0, 0.4, *[0.0] * 100, 0.3])

    def sleep_s(seconds: float) -> None:
        real(seconds + next(stalls, 0.0))

    polls = poll(board, SECONDS, board.clock.clock_ns, sleep_s)
    assert vitals(polls, 0, board.counter).power_w == pytest.approx(75, rel=0.005)
    counter = changes(seen_of(polls, 0, board.counter), board.counter.refresh_ns)
    check = cross_check(counter, seen_of(polls, 1, board.channels[1]))
    assert check.percent == pytest.approx(0, abs=0.5)


def test_the_latency_is_that_of_the_channels_own_read() -> None:
    board = VirtualBoard(VirtualClock(), constant_w(75), latency_us=130)
    found = vitals_of(board)
    assert found.latency_p50_us == found.latency_p95_us == 130


def test_a_device_faster_than_the_polls_is_not_given_their_period() -> None:
    registers = a_channel(refresh_ns=MS)
    board = VirtualBoard(VirtualClock(), constant_w(50), refresh_ms=1, counter=registers)
    found = vitals_of(board)
    assert not found.refresh_resolved
    assert 4 < found.refresh_ms < 7
    assert found.power_w == pytest.approx(50, rel=0.01)


def test_a_constant_power_has_no_noise_but_that_of_dating() -> None:
    found = vitals_of(VirtualBoard(VirtualClock(), constant_w(75)))
    assert 0 < found.noise_dating_w < 3
    assert found.noise_w < 2 * found.noise_dating_w


def test_noise_is_the_scatter_of_power_between_changes() -> None:
    scatter = random.Random(3)  # noqa: S311 - the same noise every time
    sums_j = [0.0]
    for _ in range(400):
        sums_j.append(sums_j[-1] + 0.1 * scatter.gauss(300, 30))

    def energy_j(t_s: float) -> float:
        tenths = max(0.0, t_s * 10)
        whole = int(tenths)
        return sums_j[whole] + (tenths - whole) * (sums_j[whole + 1] - sums_j[whole])

    board = VirtualBoard(VirtualClock(), energy_j, phase=0)
    for position in (0, 1):
        noise_w = vitals_of(board, position, seconds=10.0).noise_w
        assert noise_w == pytest.approx(30, rel=0.35)


def test_a_wrap_and_a_reset_do_not_spoil_the_power() -> None:
    wrapping = a_channel(wrap_j=100.0)
    board = VirtualBoard(VirtualClock(), constant_w(75), counter=wrapping)
    assert vitals_of(board).power_w == pytest.approx(75, rel=0.01)
    fresh = VirtualBoard(VirtualClock(), constant_w(75))
    honest = fresh.counter_j
    fresh.counter_j = lambda: honest() - (900 if fresh.now_s() > 1 else 0)  # type: ignore[method-assign]
    assert vitals_of(fresh).power_w == pytest.approx(75, rel=0.01)


def test_too_little_is_unknown_and_never_zero() -> None:
    short = vitals_of(VirtualBoard(VirtualClock(), constant_w(75)), seconds=0.05)
    lost = vitals_of(VirtualBoard(VirtualClock(), constant_w(75), fail_from_s=0))
    for found in (short, lost, Vitals()):
        assert math.isnan(found.power_w)
        assert math.isnan(found.refresh_ms)
        assert math.isnan(found.noise_w)
    assert (lost.reads, lost.reason) == (0, "GPU is lost")
    assert math.isnan(lost.latency_p50_us)


def test_a_model_has_neither_refresh_nor_noise() -> None:
    modelled = a_channel(trust="modelled")
    found = vitals_of(VirtualBoard(VirtualClock(), constant_w(75), counter=modelled))
    assert math.isnan(found.refresh_ms)
    assert math.isnan(found.noise_w)
    assert found.power_w == pytest.approx(75, rel=0.01)


def test_a_span_that_a_value_is_the_mean_of_is_no_latency() -> None:
    channel = a_channel(quantity="power_w")
    polls = [
        Poll(k * MS, k * MS + 9, [Reading(0, (k - 1) * MS, k * MS, 40.0 + k)]) for k in range(9)
    ]
    found = vitals(polls, 0, channel)
    assert math.isnan(found.latency_p50_us)
    assert found.power_w == pytest.approx(44)


@pytest.mark.parametrize(
    ("gain", "verdict"), [(1.0, "agree"), (1.02, "agree"), (1.15, "differ"), (0.6, "differ")]
)
def test_a_counter_that_is_not_the_integral_of_power_is_flagged(gain: float, verdict: str) -> None:
    check = check_of(VirtualBoard(VirtualClock(), constant_w(75), gain=gain))
    assert check.verdict == verdict
    assert check.percent == pytest.approx(100 * (gain - 1), abs=0.5)
    assert check.uncertainty_percent < 1


def test_what_chance_may_have_done_is_not_flagged() -> None:
    # Given a power that swings over the time of the examination, a tenth too high by the counter.
    for seed in range(5):
        board = VirtualBoard(VirtualClock(seed), sine_w(300, 290, 0.7), gain=1.1)
        check = check_of(board)
        assert check.verdict != "agree"
        assert check.uncertainty_percent > 5
        assert abs(check.percent - 10) < check.uncertainty_percent


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.9])
def test_a_short_examination_says_so(seconds: float) -> None:
    check = check_of(VirtualBoard(VirtualClock(), constant_w(75), gain=2), seconds)
    assert check.verdict == "too short to tell"


def test_polls_never_come_faster_than_200_hz_or_a_twentieth_of_the_period() -> None:
    for period_ms, least_ms in ((20, 4.5), (1000, 45.0)):
        board = VirtualBoard(VirtualClock(), constant_w(75), period_ns=period_ms * MS)
        starts = [one.t0_ns for one in polls_of(board)]
        gaps_ms = sorted((after - before) / MS for before, after in pairwise(starts))
        assert gaps_ms[len(gaps_ms) // 20] >= least_ms - 1  # a late wake shortens the next pause
        assert len(starts) <= 1.02 * SECONDS * 1e3 / (least_ms / 0.9) + 2


def test_a_slow_read_is_given_as_long_a_pause() -> None:
    board = VirtualBoard(VirtualClock(), constant_w(75), latency_us=20_000)
    polls = polls_of(board)
    for before, after in pairwise(polls[:-1]):
        assert after.t0_ns - before.t1_ns >= before.t1_ns - before.t0_ns
    assert board.reads == pytest.approx(SECONDS / 0.08, abs=3)


def test_a_sensor_that_paces_itself_is_read_when_it_is_due() -> None:
    class SelfPacedBoard(VirtualBoard):
        due_ns = 0

        def read(self) -> list[Reading]:
            late_ns.append(self.clock.t_ns - self.due_ns)
            self.due_ns = self.clock.t_ns + 2 * MS
            return super().read()

    late_ns: list[int] = []
    polls_of(SelfPacedBoard(VirtualClock(), constant_w(75)))
    assert max(late_ns[1:]) < MS


def test_a_sensor_that_reads_power_seldom_is_asked_for_all() -> None:
    class Seldom(VirtualBoard):
        def read(self) -> list[Reading]:
            raise AssertionError("reads power seldom")

        def read_all(self) -> list[Reading]:
            return super().read()

    assert check_of(Seldom(VirtualClock(), constant_w(75))).verdict == "agree"


def test_a_mark_is_timed_here() -> None:
    cost = mark_cost()
    assert 0 < cost.mark_us < cost.step_us < 1000


def test_facts_of_no_reads_are_unknown() -> None:
    found = dataclasses.asdict(vitals([], 0, a_channel()))
    assert all(math.isnan(value) for value in found.values() if isinstance(value, float))
