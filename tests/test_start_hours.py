"""Laws of start hours: energy stays, carbon does not, and what the file lacks is not guessed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from greenai import cli
from greenai.analysis.intensity import series_of
from greenai.analysis.spans import Row
from greenai.analysis.start_hours import starts_of
from greenai.errors import OrderError

if TYPE_CHECKING:
    from pathlib import Path

HOUR_NS = 3_600_000_000_000
WORDS = (
    "estimate", "--accelerator-hours", "1000", "--accelerator", "H100", "--accelerators", "500",
    "--country", "FRA", "--what-if", "--at", "FRA",
)  # fmt: skip


def hours(*figures: float) -> Any:
    rows = [Row(n * HOUR_NS, (n + 1) * HOUR_NS, figure) for n, figure in enumerate(figures)]
    return series_of(rows, basis="lifecycle", signal="average", source="a forecast")


@pytest.fixture
def forecast(tmp_path: Path) -> Path:
    """Two windy hours in a day that lies ahead; a training of two hours."""
    path = tmp_path / "forecast.csv"
    lines = [
        f"2099-01-01T{hour:02}:00Z,2099-01-01T{hour + 1:02}:00Z,{50 if hour in {7, 8} else 300}"
        for hour in range(20)
    ]
    path.write_text("\n".join(("start_utc,end_utc,g_per_kwh", *lines)) + "\n")
    return path


def test_the_least_and_the_most_are_those_of_every_start_looked_at_by_itself() -> None:
    figures = np.random.default_rng(5).uniform(20, 600, 72)
    found = starts_of(hours(*figures), 5.5 * 3600)
    means = [(figures[n : n + 5].sum() + figures[n + 5] / 2) / 5.5 for n in range(67)]
    assert found.least is not None
    assert found.most is not None
    assert found.least.g_per_kwh == pytest.approx(min(means))
    assert found.least.at_utc_ns == int(np.argmin(means)) * HOUR_NS
    assert found.most.g_per_kwh == pytest.approx(max(means))
    assert (found.compared, found.past_end, found.in_holes) == (67, 5, 0)


def test_a_hole_and_the_end_are_never_filled() -> None:
    found = starts_of(hours(10, float("nan"), 30, 40), 2 * 3600)
    assert (found.compared, found.past_end, found.in_holes) == (1, 1, 2)
    assert found.first == found.least == found.most
    nothing = starts_of(hours(10, 20), 3 * 3600)
    assert (nothing.first, nothing.compared, nothing.past_end) == (None, 0, 2)


@pytest.mark.parametrize("length_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_unknown_time_is_refused(length_s: float) -> None:
    with pytest.raises(OrderError, match="number of accelerators"):
        starts_of(hours(10, 20), length_s)


def shown(capsys: Any, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0), *capsys.readouterr()


def test_the_command_names_the_best_hour_at_the_same_energy(forecast: Path, capsys: Any) -> None:
    code, said, _ = shown(capsys, *WORDS, "--intensity-file", str(forecast), "--json")
    assert code == 0
    plain = json.loads(said)
    starts = [one for one in plain["what_if"] if one["changed"] == "start"]
    assert [one["to"] for one in starts] == [
        "2099-01-01T00:00:00Z, first", "2099-01-01T07:00:00Z, least", "2099-01-01T00:00:00Z, most"
    ]  # fmt: skip
    for one in starts:
        for corner in ("low", "mid", "high"):
            assert one[corner]["it_energy_mwh"] == plain[corner]["it_energy_mwh"]
            assert one[corner]["water_m3"] == pytest.approx(plain[corner]["water_m3"])
    first, least, _ = (one["mid"]["operational_tco2e"] for one in starts)
    assert least == pytest.approx(first / 6)
    assert "would go on past the end of the file" in plain["what_if_notes"][1]
    assert plain["what_if_notes"][1].endswith(": 1 of its starts.")
    code, said, _ = shown(capsys, *WORDS, "--intensity-file", str(forecast))
    assert "2099-01-01T07:00:00Z, least" in said
    assert "energy is the same at each" in said


def test_without_accelerators_or_what_if_the_file_is_refused(forecast: Path, capsys: Any) -> None:
    words = ("estimate", "--accelerator-hours", "1000", "--accelerator", "H100")
    code, _, said = shown(capsys, *words, "--what-if", "--intensity-file", str(forecast))
    assert code == 1
    assert "number of accelerators" in said
    code, _, said = shown(capsys, *words, "--intensity-file", str(forecast))
    assert code == 2
    assert "--what-if" in said
