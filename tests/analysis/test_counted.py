"""Laws of what is summed: what the run uses, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulation.counters import a_channel, marks_of, readings_of

from greenai.analysis.counted import counted, counted_channels, used_devices
from greenai.record.types import NOTE, STOP, VALUE, Anchor, Attempt
from greenai.shortfalls import about_counted

if TYPE_CHECKING:
    from greenai.sensors.base import Channel


def gpu(number: int, **changes: object) -> Channel:
    named: dict[str, object] = {"device": f"gpu{number}", "device_key": f"GPU-{number}"}
    return a_channel(**(named | {"assumed_used": True} | changes))


def part(kind: str, trust: str = "modelled") -> Channel:
    return a_channel(kind=kind, device=f"{kind}-0", device_key=f"host/{kind}-0", trust=trust)


def attempt_of(channels: list[Channel], told: list[str]) -> Attempt:
    rows = [(n, NOTE, f"device:{uuid}", 0, 0.0) for n, uuid in enumerate(told)]
    return Attempt(
        folder=Path(),
        rank=0,
        attempt=0,
        launch_id="one",
        manifest={},
        channels=tuple(channels),
        readings=tuple(readings_of(channel, []) for channel in channels),
        marks=marks_of([*rows, (9, STOP, "", 0, 0.0)]),
        events=(),
        anchors=(Anchor(0, 0, 0),),
        ended="stopped",
        problems=(),
    )


def test_without_a_word_of_the_training_every_visible_gpu_is_summed() -> None:
    assert counted(attempt_of([gpu(0), gpu(1)], [])).summed == (0, 1)


def test_a_visible_gpu_that_the_training_does_not_use_is_recorded_and_not_summed() -> None:
    found = counted(attempt_of([gpu(0), gpu(1), part("cpu")], ["GPU-1"]))
    assert found.summed == (1, 2)
    assert found.unused == (0,)


def test_a_gpu_that_was_named_is_summed_whatever_the_training_tells() -> None:
    assert counted(attempt_of([gpu(0, assumed_used=False), gpu(1)], ["GPU-1"])).summed == (0, 1)


def test_devices_that_nobody_meters_leave_no_smaller_number_behind() -> None:
    found = counted(attempt_of([gpu(0), gpu(1)], ["GPU-slice"]))
    assert found.summed == (0, 1)
    assert found.unmetered == ("GPU-slice",)


def test_only_primary_channels_that_carry_energy_are_summed() -> None:
    channels = [gpu(0), gpu(0, primary=False), gpu(0, quantity="temperature_c")]
    assert counted(attempt_of(channels, ["GPU-0"])).summed == (0,)


@pytest.mark.parametrize("trust", ["measured", "modelled", "assumed"])
def test_a_module_contains_its_processor_and_memory(trust: str) -> None:
    channels = [gpu(0, scope="module"), part("cpu", trust), part("dram", trust), part("other")]
    found = counted(attempt_of(channels, []))
    assert found.summed == (0, 3)
    assert found.contained == (1, 2)


def test_a_module_that_is_not_used_contains_nothing() -> None:
    channels = [gpu(0, scope="module"), gpu(1), part("cpu")]
    found = counted_channels(channels, frozenset({"GPU-1"}))
    assert found.summed == (1, 2)
    assert found.contained == ()


def test_only_a_note_tells_a_device() -> None:
    marks = marks_of([(1, NOTE, "device:GPU-1", 0, 0.0), (2, VALUE, "device:GPU-2", 0, 1.0)])
    assert used_devices(marks) == {"GPU-1"}


def test_what_is_not_summed_is_named_with_its_reason() -> None:
    channels = [gpu(0, scope="module"), gpu(1), part("cpu")]
    attempt = attempt_of(channels, ["GPU-0", "GPU-9"])
    said = about_counted(attempt, counted(attempt))
    assert [one.split(" ", 1)[0] for one in said] == ["gpu1", "cpu-0", "torch"]
    assert "devices=" in said[0]
    assert "module" in said[1]
    assert "GPU-9" in said[2]
    assert about_counted(attempt, counted(attempt_of([gpu(0)], ["GPU-0"]))) == []
