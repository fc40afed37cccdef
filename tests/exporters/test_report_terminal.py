"""Laws of the terminal reports: everything is said, aligned, and no name moves the cursor."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from greenai.exporters.contrasts import NO_CARRY_OVER, Ratio, about_devices, verdict_text
from greenai.exporters.report_terminal import comparison_report, run_report


def printed(renderable: Any, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(renderable)
    return stream.getvalue()


def test_a_run_is_said_in_full(make_run: Any) -> None:
    text = printed(run_report(make_run(notices=("Only [red]half[/red] is known.",))))
    for said in (
        "dense-r0",
        "5.33 kJ",
        "NVML energy counter",
        "not metered",
        "waiting for data",
        "56.0 gCO₂e/kWh",
        "Ember 2024 <yearly> & others",
        "Only [red]half[/red] is known.",
        "12.6 J",
        "6.13 mJ",
        "Bounds of the run's energy: 5.33 to 5.34 kJ.",
    ):
        assert said in text


def test_a_meter_of_the_whole_machine_stands_beside_the_sum(make_run: Any) -> None:
    run = make_run()
    assert "Beside the sum" not in printed(run_report(run))
    run.facts["node_j"] = {"acpi_power_meter": 7_250.0, "slurm_consumed_energy": None}
    text = " ".join(printed(run_report(run)).split())
    assert "Beside the sum: ACPI power meter 7.25 kJ, SLURM accounting unknown." in text


def test_a_run_without_sensors_says_unknown(unmetered: Any) -> None:
    text = printed(run_report(unmetered))
    assert " 0 J" not in text
    assert text.count("unknown") > 10


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(
    make_run: Any, make_comparison: Any, width: int
) -> None:
    name = "a-name-of-a-run " * 40
    run = make_run(name=name, variant=name, notices=(name,))
    text = printed(run_report(run), width) + printed(comparison_report(make_comparison()), width)
    assert max(len(line) for line in text.splitlines()) <= width


def test_no_name_moves_the_cursor(make_run: Any, make_comparison: Any) -> None:
    nasty = "\x1b[2J\x1b]0;owned\x07\r\x9b31m[bold]\u202e"
    text = printed(run_report(make_run(name=nasty, variant=nasty, notices=(nasty,))))
    text += printed(comparison_report(make_comparison(names=(nasty,)), (nasty,)))
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(text)
    assert "[bold]" in text


def test_numbers_of_a_column_end_at_the_same_place(make_comparison: Any) -> None:
    lines = printed(comparison_report(make_comparison())).splitlines()
    rows = [line for line in lines if line.startswith(("dense", "moe", "window"))]
    ends = {
        line.index(text) + len(text)
        for line, text in zip(rows[:3], ("1.000", "0.809", "0.995"), strict=True)
    }
    assert len(ends) == 1


def test_a_comparison_says_what_is_known_and_why_the_rest_is_not(make_comparison: Any) -> None:
    text = printed(comparison_report(make_comparison(measured=0.1), (NO_CARRY_OVER,)))
    assert "0.809   0.799 – 0.820" in text
    assert "not resolved: modelled" in text
    assert "10.0 % measured, 90.0 % modelled" in text
    assert "do not carry over to GPUs" in text


def test_only_runs_without_a_gpu_carry_the_warning(run: Any, unmetered: Any) -> None:
    assert about_devices([unmetered]) == (NO_CARRY_OVER,)
    assert about_devices([unmetered, run]) == ()


def test_an_interval_without_one_beside_no_verdict_is_explained() -> None:
    inside = Ratio("moe", 1.0, 0.9, 0.7, 1.1, 0.1, "not resolved", "interval includes 1")
    outside = inside._replace(high=0.98)
    assert verdict_text(inside) == "not resolved: interval includes 1"
    assert verdict_text(outside) == "not resolved: interval includes 1 once adjusted"
