"""Laws of ``greenai scaling``: it answers with an interval and a range, or says what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenai import api, cli, lens
from greenai.analysis.scaling import SizedRun

GOLDEN = Path(__file__).parent / "golden" / "scaling.txt"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders of runs of six sizes, whose loss is 1.8 + 1.5 (E / 36 kJ)^-0.3 with some scatter."""
    folder = tmp_path / "runs"
    sized: dict[str, SizedRun] = {}
    chance = np.random.default_rng(5)
    for number, energy_j in enumerate(np.geomspace(36e3, 36e6, 6).tolist()):
        name = f"size-{number}"
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_text("{}")
        sized[name] = SizedRun(
            name,
            name,
            1.8 + 1.5 * (energy_j / 36e3) ** -0.3 + 0.004 * float(chance.standard_normal()),
            energy_j=energy_j,
            tokens=energy_j * 20,
            active_parameters=energy_j**0.5 * 1e4,
            devices=("NVIDIA H200 (nvml_energy)",),
            coverage=1.0,
            measured=1.0,
        )
    monkeypatch.setattr(api, "load", lambda path: path)
    monkeypatch.setattr(lens, "sized_runs", lambda paths: [sized[path.name] for path in paths])
    monkeypatch.setenv("COLUMNS", "110")
    return folder


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["scaling", *arguments])
    return int(ended.value.code or 0)


def test_the_text_is_the_golden_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(str(runs), "--loss", "2.0") == 0
    out = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert out == GOLDEN.read_text(encoding="utf-8")


def test_the_json_has_laws_and_an_answer(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(str(runs), "--loss", "1.9", "--json") == 0
    plain: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert sorted(plain["laws"]) == ["active_parameters", "energy_j", "tokens"]
    law, answer = plain["laws"]["energy_j"], plain["answer"]
    assert law["exponent_low"] <= 0.3 <= law["exponent_high"]
    assert answer["low_kwh"] < answer["energy_kwh"] < answer["high_kwh"]
    assert answer["extrapolated"]


def test_a_run_is_taken_once_however_often_it_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(str(runs), str(runs / "size-0"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 6


def test_fewer_than_four_sizes_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*(str(runs / f"size-{number}") for number in range(3))) == 1
    err = capsys.readouterr().err
    assert "3 sizes in 3 runs" in err
    assert "hint: give runs of at least 4 sizes" in err


def test_a_loss_below_the_irreducible_term_is_refused(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(str(runs), "--loss", "1.0") == 1
    assert "irreducible term" in capsys.readouterr().err
