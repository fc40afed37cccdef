from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.workloads import progress
from greenai.workloads.progress import progress_bar
from greenai.workloads.schedule import balanced_turns

if TYPE_CHECKING:
    import pytest

PLAN = balanced_turns(["dense", "moe"], repeats=2)


def step_through() -> None:
    with progress_bar(PLAN, run_s=2.0, shown=True) as show:
        for turns in PLAN:
            for turn in turns:
                for spent_s in (0.5, 1.0, 2.5):
                    show(turn, spent_s)


def test_without_a_terminal_each_run_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    step_through()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "run 1 of 4: dense, repeat 1 of 2",
        "run 2 of 4: moe, repeat 1 of 2",
        "run 3 of 4: moe, repeat 2 of 2",
        "run 4 of 4: dense, repeat 2 of 2",
    ]


def test_in_a_terminal_one_bar_goes_over_all_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress, "REFRESH_S", 0.0)
    step_through()
    said = capsys.readouterr()
    assert said.out == ""
    assert "dense, repeat 2 of 2" in said.err
    assert "run 1 of 4" not in said.err


def test_nothing_is_shown_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(PLAN, run_s=2.0, shown=False) as show:
        show(PLAN[0][0], 1.0)
    assert capsys.readouterr() == ("", "")
