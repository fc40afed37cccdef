from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from greenai.diagnosis import Vitals
from greenai.doctor import Diagnosis, Row
from greenai.sensors import Channel
from greenai.workloads.resting import Look, cool_down, look

if TYPE_CHECKING:
    from collections.abc import Callable


def row(kind: Any, power_w: float, trust: Any = "measured", **changes: Any) -> Row:
    channel = Channel(
        quantity="energy_j",
        kind=kind,
        device=f"{kind}0",
        device_key=f"{kind}-key",
        method="counter",
        trust=trust,
        primary=True,
        refresh_ns=100_000_000,
    )
    return Row("any", "works", channel=channel, vitals=Vitals(power_w=power_w), **changes)


def seen(*rows: Row) -> Callable[..., Diagnosis]:
    def examine(names: tuple[str, ...], *, seconds: float) -> Diagnosis:
        assert names == ("nvml", "rapl")
        return Diagnosis(list(rows), [], seconds)

    return examine


GPU = {"temperature_c": 40.0, "power_limit_w": 700.0, "clock_hz": 1.5e9}


def test_idle_power_is_that_of_what_is_measured_and_summed() -> None:
    machine = seen(
        row("gpu", 70.0, informing=GPU),
        row("cpu", 30.0),
        row("dram", 5.0, "modelled"),
        row("other", 400.0, beside=True),
        Row("rapl", "refused", "not readable"),
    )
    found = look(1.0, machine)
    assert (found.power_w, found.devices, found.gpus) == (100.0, ("gpu0", "cpu0"), 1)
    assert (found.temperature_c, found.power_limit_w, found.clock_hz) == (40.0, 700.0, 1.5e9)


def test_of_several_gpus_the_hottest_and_the_slowest_count_and_limits_add_up() -> None:
    other = {"temperature_c": 55.0, "power_limit_w": 500.0, "clock_hz": 1.1e9}
    found = look(1.0, seen(row("gpu", 70, informing=GPU), row("gpu", 80, informing=other)))
    assert (found.temperature_c, found.power_limit_w, found.clock_hz) == (55.0, 1200.0, 1.1e9)


@pytest.mark.parametrize("informing", [{}, {"temperature_c": float("nan")}])
def test_what_one_of_several_gpus_does_not_tell_is_unknown_and_not_a_part(
    informing: dict[str, float],
) -> None:
    found = look(1.0, seen(row("gpu", 70, informing=GPU), row("gpu", 80, informing=informing)))
    assert (found.temperature_c, found.power_limit_w) == (None, None)


def test_a_counter_that_tells_no_power_leaves_idle_power_unknown() -> None:
    assert look(1.0, seen(row("gpu", float("nan"), informing=GPU))).power_w is None
    assert look(1.0, seen()).power_w is None


class Cooling:
    """A card whose warmth and power halve with every look, which takes two seconds."""

    def __init__(self, power_w: float | None, warmer_c: float | None) -> None:
        self.now_s, self.power_w, self.warmer_c = 0.0, power_w, warmer_c

    def see(self, seconds: float) -> Look:
        self.now_s += seconds
        self.power_w = self.power_w and 70 + (self.power_w - 70) / 2
        self.warmer_c = self.warmer_c and self.warmer_c / 2
        temperature_c = None if self.warmer_c is None else 40 + self.warmer_c
        return Look(power_w=self.power_w, temperature_c=temperature_c, gpus=1)

    def clock(self) -> float:
        return self.now_s


IDLE = Look(power_w=70.0, devices=("gpu0",), temperature_c=40.0, gpus=1)


@pytest.mark.parametrize(
    ("power_w", "warmer_c", "waited_s"),
    [
        (71.0, 1.0, 2),
        (126.0, 1.0, 8),  # 98, 84, 77, then 73.5 W: 5 % above idle
        (71.0, 20.0, 6),  # 10, 5, then 2.5 °C warmer
        (None, 20.0, 6),
        (126.0, None, 8),
    ],
)
def test_the_next_run_waits_until_power_and_temperature_are_back(
    power_w: float | None, warmer_c: float | None, waited_s: float
) -> None:
    card = Cooling(power_w, warmer_c)
    now, waited = cool_down(IDLE, card.see, card.clock)
    assert waited == waited_s
    assert now.gpus == 1


def test_a_card_that_stays_warm_is_not_waited_for_without_end() -> None:
    now_s = [0.0]

    def warm(seconds: float) -> Look:
        now_s[0] += seconds
        return Look(power_w=300.0, temperature_c=80.0, gpus=1)

    _, waited = cool_down(IDLE, warm, lambda: now_s[0], limit_s=30)
    assert waited == 30


def test_without_a_gpu_nothing_is_waited_for_or_looked_at() -> None:
    def never(_: float) -> Look:
        raise AssertionError

    assert cool_down(Look(power_w=30.0, devices=("cpu0",)), never) == (Look(), None)
