"""Laws of the doctor: each interface works, is refused with a remedy, or is not here."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from greenai.doctor import examine, lines
from greenai.sensors.rapl import REMEDY

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.fake_nvml import FakeNvml
    from simulation.powercap import PowercapTree

EXAMINE = """
import dataclasses, json, sys
from greenai import doctor
found = doctor.examine(["nvml"], seconds=float(sys.argv[1]))
print(json.dumps([dataclasses.asdict(found), doctor.lines(found)]))
"""


def root_of(tree: PowercapTree) -> str:
    return str(tree.root.parent.parent)


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
    watts = float(row.detail.split(": ")[1].split(" W")[0])
    assert watts == pytest.approx(50, rel=0.15)


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
    assert [row.state for row in found.rows] == ["works", "works", "unneeded"]
    assert not any("CPU" in text or "DRAM" in text for text in found.missing)
    assert any("GPU" in text for text in found.missing)


def test_what_nothing_meters_is_always_said(tmp_path: Path) -> None:
    found = examine(["rapl"], seconds=0, sys_root=str(tmp_path))
    assert found.rows[0].state == "absent"
    assert "whole machine" in found.missing[-1]
    text = lines(found)
    assert any("not on this machine" in line for line in text)
    assert any("Nothing here is measured" in line for line in text)


def test_gpus_show_power_and_what_informs(fake_nvml: FakeNvml) -> None:
    done = fake_nvml.run(EXAMINE, "1.0", gpus=2, low_w=250, step_w=50, refresh_ms=50)
    found, text = json.loads(done.stdout)
    watts = [float(row["detail"].split(": ")[1].split(" W")[0]) for row in found["rows"]]
    assert watts == pytest.approx([250, 300], rel=0.1)
    assert all(row["state"] == "works" for row in found["rows"])
    assert found["measured"]
    informed = "temperature 40 °C, limit 700 W, busy 50 %, memory 20 GiB"
    assert informed in found["rows"][0]["detail"]
    assert not any("Nothing here is measured" in line for line in text)
