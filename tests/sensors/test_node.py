"""Laws of meters of the whole machine: nothing waits for them, what they leave open is unknown."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import pytest
from simulation import commands
from simulation.systree import SysTree, write

import greenai
from greenai.sensors import asked
from greenai.sensors.asked import AskingSensor, ipmi_w, open_ipmi, slurm_j
from greenai.sensors.node import node_channel, open_acpi
from greenai.sensors.pdu import open_pdu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from greenai.sensors.base import Reading, Sensor

MS = 1_000_000
LONG_S = 20.0


def answers(sensor: Sensor, count: int = 1) -> list[Reading]:
    end_s = time.monotonic() + LONG_S
    found: list[Reading] = []
    while len(found) < count and time.monotonic() < end_s:
        found += sensor.read()
        time.sleep(0.02)
    return found


def asking(command: list[str], understood: Callable[[str], float] = float) -> AskingSensor:
    channel = node_channel("ipmi_dcmi", "node-ipmi", "h/node-ipmi", "power_w", 100 * MS)
    return AskingSensor("ipmi", channel, command, understood, 100 * MS)


def test_a_read_never_waits_for_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commands.program(tmp_path, "slow", "time.sleep(600)", monkeypatch)
    monkeypatch.setattr(asked, "GIVE_UP_NS", 300 * MS)
    sensor = asking([str(path)])
    start_s = time.monotonic()
    assert sensor.read() == []
    child = sensor._child
    assert child is not None
    (reading,) = answers(sensor)
    assert "no answer within" in reading.reason
    assert math.isnan(reading.value)
    assert child.poll() is not None  # it was ended
    assert sensor.read() == []
    second = sensor._child
    assert second is not None
    sensor.close()
    sensor.close()
    assert second.poll() is not None
    assert time.monotonic() - start_s < LONG_S


def test_a_command_is_asked_no_more_often_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write('x')\nprint(5)"
    path = commands.program(tmp_path / "bin", "often", code, monkeypatch)
    sensor = asking([str(path)])
    sensor._every_ns = 3600 * 1_000 * MS
    assert [one.value for one in answers(sensor)] == [5.0]
    for _ in range(10):
        assert sensor.read() == []
    assert log.read_text() == "x"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.stderr.write('Could not open device\\nat all\\n'); sys.exit(1)", "at all"),
        ("sys.exit(3)", "exit 3"),
        ("print('no number')", "could not convert"),
    ],
)
def test_a_command_that_fails_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    path = commands.program(tmp_path, "failing", code, monkeypatch)
    (reading,) = answers(asking([str(path)]))
    assert said in reading.reason
    assert math.isnan(reading.value)


def test_a_command_that_is_gone_has_its_reason() -> None:
    (reading,) = answers(asking(["/nonexistent/ipmitool"]))
    assert "cannot be started: No such file" in reading.reason


def test_a_controller_that_does_not_measure_gives_no_watts() -> None:
    ok = commands.IPMI_ANSWER
    assert ipmi_w(ok.format(watts=640, state="activated")) == 640.0
    for text in (
        ok.format(watts=0, state="activated"),
        ok.format(watts=640, state="deactivated"),
        "DCMI request failed because: Invalid command (c1)",
        "",
    ):
        with pytest.raises(ValueError, match=r"power|unknown"):
            ipmi_w(text)


@pytest.mark.parametrize("said", ["", "\n", "0\n", "4294967294\n", "18446744073709551614\n", "1K"])
def test_slurm_without_an_energy_is_unknown_and_not_zero(said: str) -> None:
    with pytest.raises(ValueError, match="no energy"):
        slurm_j(said)


def test_a_controller_needs_its_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = SysTree(tmp_path)
    (tree.dev / "ipmi0").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    found, refusals = open_ipmi(str(tree.dev))
    assert (found, refusals[0].hint) == ([], "sudo apt install ipmitool")


def test_an_acpi_meter_that_does_not_know_is_unknown(tmp_path: Path) -> None:
    tree = SysTree(tmp_path)
    folder = tree.acpi_meter(450_000_000)
    (sensor,), _ = open_acpi(str(tree.sys / "class" / "hwmon"))
    assert sensor.read()[0].value == 450.0
    write(folder, {"power1_average": 0xFFFFFFFF * 1000})
    reading = sensor.read()[0]
    assert math.isnan(reading.value)
    assert "stands for unknown" in reading.reason


def row(watts: str, age_s: float = 0.0) -> str:
    return f"{time.time() - age_s:.3f},{watts}\n"


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_pdus_rows_come_at_their_own_times(tmp_path: Path) -> None:
    path = tmp_path / "rack.csv"
    path.write_text("utc,watts\n" + row("999", 60))
    (sensor,), _ = open_pdu(f"pdu:{path}")
    assert sensor.read() == []  # what was there before is not of this run
    append(path, row("500", 30) + row("510", 20) + "17")
    now_ns = time.monotonic_ns()
    first, second = sensor.read()
    assert (first.value, second.value) == (500.0, 510.0)
    assert now_ns - first.t1_ns == pytest.approx(30e9, abs=2e9)
    assert second.t1_ns - first.t1_ns == pytest.approx(10e9, abs=1e8)
    assert sensor.read() == []  # half a line is not a line


def test_a_pdus_half_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rack.csv"
    path.write_text("watts,note,utc\n5")
    (sensor,), _ = open_pdu(f"pdu:{path}")
    append(path, f"12,x,{time.time()}\n")
    assert [one.value for one in sensor.read()] == [512.0]


def test_a_pdus_file_may_be_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "rack.csv"
    path.write_text("utc,watts\n" + row("500") * 20)
    (sensor,), _ = open_pdu(f"pdu:{path}")
    path.write_text("utc,watts\n" + row("600"))
    assert [one.value for one in sensor.read()] == [600.0]
    path.unlink()
    (gone,) = sensor.read()
    assert "cannot be read" in gone.reason


@pytest.mark.parametrize(
    "bad",
    ["yesterday,500", "nan,500", "1e400,500", "{now},", "{now},-3", "{now},nan", "{ahead},500"],
)
def test_a_pdus_row_that_cannot_be_is_unknown_with_a_reason(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "rack.csv"
    path.write_text("utc,watts\n")
    (sensor,), _ = open_pdu(f"pdu:{path}")
    line = bad.format(now=time.time(), ahead=time.time() + 3600)
    append(path, f"{line}\n" + row("500"))
    unused, used = sensor.read()
    assert "is not used" in unused.reason
    assert math.isnan(unused.value)
    assert used.value == 500.0


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rack.csv"
    path.write_text("time,power\n1,2\n")
    found, refusals = open_pdu(f"pdu:{path}")
    assert found == []
    assert "utc,watts" in refusals[0].hint


def test_a_run_reports_the_meter_beside_its_energy(tmp_path: Path) -> None:
    """Through the real sampler: stated watts are summed, the PDU's stand beside."""
    path = tmp_path / "rack.csv"
    path.write_text("utc,watts\n")
    names = ["assumed:tpu=200", f"pdu:{path}"]
    with greenai.track(tmp_path / "run", sensors=names) as tracker:
        end_s = time.monotonic() + 3.0
        while time.monotonic() < end_s:
            append(path, row("812.5"))
            time.sleep(0.25)
            tracker.step()
    summary = greenai.load(tmp_path / "run").summary()
    duration_s = summary["duration_s"]
    assert summary["node_j"] == {"pdu_csv": pytest.approx(812.5 * duration_s, rel=1e-6)}
    assert summary["trust"]["assumed"] == 1.0
    assert summary["component_j"]["other"] == summary["energy_j"]
    assert summary["energy_j"] == pytest.approx(200 * duration_s, rel=0.2)
    assert "node_j" in summary
    json.dumps(summary, allow_nan=False)
