"""Laws of the doctor: each interface works, is refused with a remedy, or is not here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulation.counters import a_channel
from simulation.virtual import VirtualBoard, VirtualClock, constant_w

from greenai import sensors
from greenai.diagnosis import CrossCheck, Vitals
from greenai.doctor import Diagnosis, Row, examine, to_json
from greenai.doctor_text import lines
from greenai.examination import MarkCost
from greenai.sensors.base import Refusal
from greenai.sensors.rapl import REMEDY

if TYPE_CHECKING:
    from simulation.fake_nvml import FakeNvml
    from simulation.powercap import PowercapTree

GOLDEN = Path(__file__).parent / "golden"
"""`to_json` and `lines` of ``all_kinds()``, looked at before they were accepted."""


def root_of(tree: PowercapTree) -> str:
    return str(tree.root.parent.parent)


def all_kinds() -> Diagnosis:
    """One row of every kind that there is."""
    gpu = a_channel(model="NVIDIA H100", scope="shared", vendor="NVIDIA")
    steady = Vitals(
        588,
        0,
        "",
        12.25,
        30.5,
        29,
        True,
        100.0,
        97.5,
        102.25,
        2.5,
        75.25,
        1.5,
        1.25,
    )
    informing = {
        "temperature_c": 41.0,
        "power_limit_w": 700.0,
        "utilization_ratio": 0.0,
        "memory_used_bytes": 2.0 * 2**30,
        "clock_hz": 1.98e9,
    }
    failing = Vitals(400, 100, "NVML: GPU is lost", 12.0, 30.0, 4, True, power_w=400.0)
    cpu = a_channel(kind="cpu", device="cpu-package-0", device_key="host/package-0", method="rapl")
    fast = Vitals(590, 0, "", 6.0, 9.0, 580, False, 5.1, 5.0, 5.6, 0.5, 80.5, 2.25, 0.5)
    model = a_channel(
        kind="dram", quantity="power_w", device="dram-0", device_key="h/d", trust="modelled",
        method="ram_model",
    )  # fmt: skip
    node = a_channel(
        kind="other", quantity="power_w", device="node", device_key="h/node", method="ipmi",
        primary=False, scope="node",
    )  # fmt: skip
    differ = CrossCheck(25.5, 1.5, "differ")
    return Diagnosis(
        [
            Row("nvml", "works", "", "", gpu, False, steady, 0.0,
                CrossCheck(0.4, 1.2, "agree"), informing),
            Row("nvml", "works", "NVML: GPU is lost", "", a_channel(device="gpu1"), False, failing,
                0.99, differ),
            Row("nvml", "refused", "NVML: no permission", "", a_channel(device="gpu2"), False,
                Vitals(0, 600, "NVML: no permission")),
            Row("rapl", "works", "", "", cpu, False, fast, 0.04,
                CrossCheck(math.nan, math.nan, "too short to tell")),
            Row("amd", "absent", "libamd_smi.so is not installed."),
            Row("rapl", "refused", "RAPL counter is not readable: FILE (EACCES).", REMEDY),
            Row("codecarbon", "works", "", "", model, False, Vitals(30, power_w=20.0), 0.04),
            Row("ipmi", "works", "", "", node, True, Vitals(3, power_w=412.0, refresh_changes=1)),
            Row("jetson", "works", "", "", a_channel(device="gpu3"), False, Vitals(1)),
            Row("codecarbon", "unneeded", "Counters are readable."),
        ],
        ["Fans and disks."],
        3.0,
        MarkCost(0.41, 1.02),
    )  # fmt: skip


def test_the_text_is_the_golden_one() -> None:
    assert "\n".join(lines(all_kinds())) + "\n" == (GOLDEN / "doctor.txt").read_text("utf-8")


def test_the_json_is_the_golden_one() -> None:
    golden = json.loads((GOLDEN / "doctor.json").read_text("utf-8"))
    plain = to_json(all_kinds()) | {"greenai_version": golden["greenai_version"]}
    assert json.loads(json.dumps(plain, allow_nan=False)) == golden


def test_every_row_has_the_same_keys_and_what_is_unknown_is_null() -> None:
    plain = to_json(all_kinds())
    keys = [list(row) for row in plain["rows"]]
    assert all(one == keys[0] for one in keys)
    absent = plain["rows"][4]
    said = {name for name, value in absent.items() if value is not None}
    assert said == {"sensor", "state", "reason"}
    dead = plain["rows"][2]
    assert (dead["reads"], dead["failed_reads"]) == (0, 600)
    assert dead["power_w"] is dead["refresh_ms"] is dead["refresh_changes"] is None


def test_only_a_device_at_rest_has_an_idle_power() -> None:
    rows = to_json(all_kinds())["rows"]
    assert (rows[0]["at_rest"], rows[0]["idle_power_w"]) == (True, 75.25)
    assert (rows[1]["at_rest"], rows[1]["idle_power_w"]) == (False, None)
    assert (rows[7]["at_rest"], rows[7]["idle_power_w"]) == (None, None)


def test_a_meter_of_the_node_is_measured_and_sums_to_nothing() -> None:
    node = a_channel(kind="other", quantity="power_w", primary=False, scope="node")
    found = Diagnosis([Row("ipmi", "works", channel=node, beside=True)], [])
    assert found.measured
    assert not found.summed
    assert any("Only what stands beside the sum is measured" in line for line in lines(found))


def test_a_meter_of_the_node_is_examined_and_named_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    board = VirtualBoard(
        clock, constant_w(400), counter=a_channel(kind="other", primary=False, scope="node")
    )
    board.channels = board.channels[:1]
    opener = {"ipmi": lambda: ([board], [])}
    monkeypatch.setattr(sensors, "openers", lambda *_, **__: opener)
    found = examine(seconds=0.01)
    (row,) = found.rows
    assert row.beside
    assert board.closed
    assert "beside the sum" in found.missing[-1]
    assert any("GPU energy" in text for text in found.missing)


def test_a_sensor_is_closed_though_the_examination_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = VirtualBoard(VirtualClock(), constant_w(75))

    def read() -> Any:
        raise KeyboardInterrupt

    board.read = read  # type: ignore[method-assign]
    monkeypatch.setattr(sensors, "openers", lambda *_, **__: {"nvml": lambda: ([board], [])})
    with pytest.raises(KeyboardInterrupt):
        examine(seconds=1)
    assert board.closed


def test_what_is_going_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    openers = {"a": lambda: ([], [Refusal("a", "No a.")]), "b": lambda: ([], [])}
    monkeypatch.setattr(sensors, "openers", lambda *_, **__: openers)
    said: list[str] = []
    found = examine(seconds=1, say=said.append)
    assert [row.state for row in found.rows] == ["absent", "unneeded"]
    assert said == ["1 of 2: opening a", "2 of 2: opening b", "timing marks"]


def test_a_counter_that_works_shows_its_watts(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0", 1_000_000)
    start_s, done = time.monotonic(), threading.Event()

    def draw_50_w() -> None:
        while not done.wait(0.002):
            elapsed_s = time.monotonic() - start_s
            powercap_tree.turn("intel-rapl:0", 1_000_000 + int(50e6 * elapsed_s))

    drawing = threading.Thread(target=draw_50_w)
    drawing.start()
    try:
        found = examine(["rapl"], seconds=0.5, sys_root=root_of(powercap_tree))
    finally:
        done.set()
        drawing.join()
    (row,) = found.rows
    assert (row.sensor, row.state) == ("rapl", "works")
    assert found.measured
    assert row.vitals.power_w == pytest.approx(50, rel=0.15)
    assert 0 < row.vitals.latency_p50_us < 1e5
    assert 0 <= row.busy_ratio <= 1


def test_a_denied_counter_names_its_remedy(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0")
    powercap_tree.deny("intel-rapl:0")
    found = examine(["rapl"], seconds=0, sys_root=root_of(powercap_tree))
    assert [(row.state, row.hint) for row in found.rows] == [("refused", REMEDY)]
    assert not found.measured
    assert any(f"hint: {REMEDY}" in line for line in lines(found))


def test_a_counter_that_opens_and_cannot_be_read_does_not_work(
    powercap_tree: PowercapTree,
) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0")
    powercap_tree.break_("intel-rapl:0")
    found = examine(["rapl"], seconds=0, sys_root=root_of(powercap_tree))
    assert found.rows[0].state == "refused"
    assert any("CPU energy" in text for text in found.missing)


def test_a_model_is_not_needed_beside_counters(powercap_tree: PowercapTree) -> None:
    powercap_tree.server(1)
    found = examine(["rapl", "codecarbon"], seconds=0, sys_root=root_of(powercap_tree))
    summed = [row for row in found.rows if not row.beside]
    assert [row.state for row in summed] == ["works", "works", "unneeded"]
    assert not any("CPU" in text or "DRAM" in text for text in found.missing)
    assert any("GPU" in text for text in found.missing)


def test_what_nothing_meters_is_always_said(tmp_path: Path) -> None:
    found = examine(["rapl"], seconds=0, sys_root=str(tmp_path), proc=str(tmp_path))
    assert found.rows[0].state == "absent"
    assert "whole machine" in found.missing[-1]
    text = lines(found)
    assert any("not on this machine" in line for line in text)
    assert any("Nothing here is measured" in line for line in text)
    assert any("A mark costs" in line for line in text)


def doctor(fake_nvml: FakeNvml, *arguments: str, **knobs: object) -> tuple[int, Any]:
    """Exit code and JSON of the command in a process that sees the simulated GPUs."""
    done = subprocess.run(
        [sys.executable, "-m", "greenai", "doctor", "--json", "--sensor", "nvml", *arguments],
        capture_output=True,
        check=False,
        env=fake_nvml.environment(**knobs),
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("refresh_ms", [20, 100])
def test_gpus_are_examined_as_they_are(fake_nvml: FakeNvml, refresh_ms: int) -> None:
    code, plain = doctor(fake_nvml, gpus=2, low_w=60, step_w=15, refresh_ms=refresh_ms)
    assert (code, plain["schema_version"], plain["measured"]) == (0, 1, True)
    assert [row["device"] for row in plain["rows"]] == ["gpu0", "gpu1"]
    for row, watts in zip(plain["rows"], (60, 75), strict=True):
        assert row["state"] == "works"
        assert row["power_w"] == pytest.approx(watts, rel=0.01)
        assert row["refresh_ms"] == pytest.approx(refresh_ms, abs=4)
        assert row["refresh_resolved"]
        assert row["counter_against_power"] == "agree"
        assert row["power_limit_w"] == 700
        assert row["at_rest"] is (row["busy_ratio"] < 0.1)


def test_a_lost_gpu_is_refused_with_its_reason(fake_nvml: FakeNvml) -> None:
    code, plain = doctor(fake_nvml, "--seconds", "0.2", gpus=2, no_permission="0,1")
    assert (code, [row["state"] for row in plain["rows"]]) == (1, ["refused"])
    assert "docker" in plain["rows"][0]["hint"]
