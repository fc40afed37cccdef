"""Laws that every sensor keeps, whatever it meters: each is opened on its simulated hardware."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any, get_args

import pytest
from simulation.contract import CASES, Case, Room

from greenai import sensors
from greenai.sensors.base import KINDS, TRUSTS, Channel, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greenai.sensors.base import Reading, Sensor

SPAN_S = 0.3
METHODS_WITHOUT_LAW = {"unmetered"}
"""Opens no sensor, ever; its laws are its own."""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Room:
    denied: set[str] = set()
    real_open = os.open

    def open_unless_denied(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(path) in denied:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", open_unless_denied)
    return Room(
        tmp_path,
        monkeypatch,
        lambda: request.getfixturevalue("fake_nvml"),
        lambda: request.getfixturevalue("powercap_tree"),
        denied,
    )


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, room: Room) -> Case:
    return CASES[request.param](room)


@contextlib.contextmanager
def opened(case: Case) -> Iterator[Sensor]:
    found, refusals = case.open()
    assert refusals == []
    assert len(found) == 1
    yield found[0]
    found[0].close()


def is_counted(channel: Channel) -> bool:
    return channel.quantity in {"energy_j", "power_w"} and (
        channel.primary or channel.scope == "node"
    )


def read(case: Case, sensor: Sensor) -> list[Reading]:
    """Read until every counted device has said something, as a sampler would in the end."""
    labels = set(case.powers_w)
    end_s = time.monotonic() + case.wait_s
    readings: list[Reading] = []
    while True:
        case.turn()
        readings += sensor.read()
        said = {sensor.channels[one.channel].device for one in readings}
        if labels <= said or time.monotonic() >= end_s:
            assert labels <= said
            return readings
        time.sleep(0.06)


def test_every_interface_has_a_case() -> None:
    with_argument = {prefix.removesuffix(":") for prefix in sensors.WITH_ARGUMENT}
    known = set(sensors.NAMES) | set(sensors.ON_REQUEST) | with_argument
    assert set(CASES) == known - METHODS_WITHOUT_LAW


def test_channels_are_declared_in_full_and_none_twice(case: Case) -> None:
    with opened(case) as sensor:
        identities = [(one.device_key, one.kind, one.quantity) for one in sensor.channels]
        assert len(set(identities)) == len(identities) > 0
        counted = [one.device for one in sensor.channels if is_counted(one)]
        assert sorted(counted) == sorted(case.powers_w)
        for one in sensor.channels:
            assert one.quantity in get_args(Quantity)
            assert one.kind in KINDS
            assert one.trust in TRUSTS
            assert one.method
            assert one.refresh_ns > 0
            assert one.wrap_j is None or (one.quantity == "energy_j" and one.wrap_j > 0)
        assert sensor.period_ns > 0
        assert sensor.name in sensors.NAMES + sensors.ON_REQUEST + ("replay", "assumed", "pdu")


def test_a_device_is_counted_once(case: Case) -> None:
    with opened(case) as sensor:
        summed = [(one.device_key, one.kind) for one in sensor.channels if one.primary]
        assert len(set(summed)) == len(summed)


def test_what_meters_the_whole_machine_is_never_summed(case: Case) -> None:
    with opened(case) as sensor:
        for one in sensor.channels:
            assert not (one.scope == "node" and one.primary)
            assert (one.scope == "node") == one.device.startswith(("node-", "pdu-"))


def test_keys_are_the_same_at_a_second_opening(case: Case) -> None:
    with opened(case) as sensor:
        first = [(one.device_key, one.kind, one.quantity, one.device) for one in sensor.channels]
    with opened(case) as sensor:
        again = [(one.device_key, one.kind, one.quantity, one.device) for one in sensor.channels]
    assert first == again


def test_a_channel_survives_the_manifest(case: Case) -> None:
    with opened(case) as sensor:
        for one in sensor.channels:
            text = json.dumps(one.to_json(), allow_nan=False)
            assert Channel.from_json(json.loads(text)).to_json() == one.to_json()


def test_a_reading_lies_between_its_two_times_and_in_its_call(case: Case) -> None:
    with opened(case) as sensor:
        opened_ns = time.monotonic_ns() - int(1e9)  # what was read while opening counts too
        for _ in range(3):
            start_ns = time.monotonic_ns()
            readings = read(case, sensor)
            end_ns = time.monotonic_ns()
            for one in readings:
                assert one.t0_ns <= one.t1_ns <= end_ns
                assert one.t0_ns >= (start_ns if case.is_direct else opened_ns)


def test_energy_is_the_true_energy_of_every_device(case: Case) -> None:
    """Whatever was read is true for a moment between the first turn and the end of the call."""
    with opened(case) as sensor:
        spans = []
        for pause_s in (SPAN_S, 0.0):
            start_ns = time.monotonic_ns() - case.refresh_ns
            latest = {one.channel: one for one in read(case, sensor)}
            spans.append((start_ns, time.monotonic_ns(), latest))
            time.sleep(pause_s)
        (start0_ns, end0_ns, before), (start1_ns, end1_ns, after) = spans
        total_w = 0.0
        for at, channel in enumerate(sensor.channels):
            if not is_counted(channel):
                continue
            power_w = case.powers_w[channel.device]
            assert before[at].reason == after[at].reason == ""
            if channel.quantity == "power_w":
                assert after[at].value == pytest.approx(power_w)
                total_w += after[at].value
                continue
            low_j = power_w * (start1_ns - end0_ns) / 1e9
            high_j = power_w * (end1_ns - start0_ns) / 1e9
            rounded_j = 1.001 if channel.method == "slurm_consumed_energy" else 0.002
            assert low_j - rounded_j <= after[at].value - before[at].value <= high_j + rounded_j
            total_w += power_w
        assert total_w == pytest.approx(sum(case.powers_w.values()))  # devices add up


def test_a_device_that_fails_is_unknown_with_a_reason_and_leaves_the_others(case: Case) -> None:
    if case.fail is None:
        pytest.skip("nothing of it can fail")
    with opened(case) as sensor:
        read(case, sensor)
        gone = case.fail()
        for _ in range(3):
            failed: set[str] = set()
            end_s = time.monotonic() + case.wait_s
            while True:
                for one in read(case, sensor):
                    channel = sensor.channels[one.channel]
                    if one.reason:
                        assert math.isnan(one.value)
                        failed.add(channel.device)
                    elif is_counted(channel):
                        assert one.value > 0
                if gone <= failed or time.monotonic() > end_s:
                    break
            assert failed == gone


def test_closing_twice_is_harmless(case: Case) -> None:
    with opened(case) as sensor:
        read(case, sensor)
        sensor.close()
        sensor.close()


def test_hardware_that_is_not_here_is_one_refusal_without_a_hint(case: Case) -> None:
    if case.remove is None:
        pytest.skip("the user names a thing that must be there")
    case.remove()
    found, refusals = case.open()
    assert found == []
    assert [(one.sensor, one.hint) for one in refusals] == [(case.names[0], "")]
    assert refusals[0].reason.endswith(".")


def test_what_is_closed_is_refused_with_what_mends_it(case: Case) -> None:
    if case.deny is None:
        pytest.skip("it needs nothing")
    case.deny()
    found, refusals = case.open()
    assert found == []
    assert refusals
    assert all(one.hint and one.reason.endswith(".") for one in refusals)
