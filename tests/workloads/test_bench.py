from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from greenai.api import load, run_folders
from greenai.errors import OrderError, RecordError
from greenai.workloads.bench import run_bench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "values",
    [
        {"repeats": 0},
        {"seconds": 0},
        {"seconds": float("inf")},
        {"seconds": float("nan")},
        {"warmup_s": -1},
        {"budget_s": 0},
        {"data": "/nowhere/at/all"},
        {"variants": ["dense"]},
        {"variants": ["dense", "flash"]},
        {"match": "loss"},
        {"size": "huge", "quick": False},
        {"size": "large", "quick": True},
        {"sweep_seq": [10_000_000]},
        {"resume": True},
    ],
)
def test_nonsense_is_refused_before_any_folder_is_made(
    values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(OrderError) as refusal:
        run_bench(out=tmp_path / "bench", progress=False, **values)
    assert refusal.value.hint
    assert not (tmp_path / "bench").exists()


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError) as refusal:
        run_bench(out=tmp_path / "file" / "bench", progress=False)
    assert refusal.value.path == tmp_path / "file" / "bench"


def test_too_small_a_text_is_refused_before_any_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("too short\n" * 100, encoding="utf-8")
    with pytest.raises(OrderError, match="too small"):
        run_bench(out=tmp_path / "bench", data=tmp_path / "note.txt", progress=False)
    assert not (tmp_path / "bench").exists()


@pytest.mark.slow
def test_the_experiment_end_to_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "mine").touch()
    result = run_bench(
        out=tmp_path / "bench", repeats=2, seconds=2.0, warmup_s=0.0, country="FRA", progress=False
    )
    assert capfd.readouterr().out == ""
    assert result.folder == tmp_path / "bench-2"
    assert [path.name for path in (tmp_path / "bench").iterdir()] == ["mine"]
    assert [run.name for run in result.runs] == [
        "dense-r0",
        "moe-r0",
        "sliding_window-r0",
        "moe-r1",
        "sliding_window-r1",
        "dense-r1",
    ]
    assert all(run.is_dir() for run in result.runs)
    for name in ("bench.json", "comparison.json", "comparison.csv", "comparison.html"):
        assert (result.folder / name).stat().st_size > 0
    compared = json.loads((result.folder / "comparison.json").read_text(encoding="utf-8"))
    assert compared["baseline"] == "dense"
    assert compared["per"] == "token"
    assert {found["variant"]: found["n"] for found in compared["results"]} == {
        "moe": 2,
        "sliding_window": 2,
    }
    design = json.loads((result.folder / "bench.json").read_text(encoding="utf-8"))
    assert design["done_repeats"] == design["planned_repeats"] == 2
    assert len(design["held_out_loss_nats"]["moe"]) == 2
    moe, dense = (load(result.folder / name).config for name in ("moe-r1", "dense-r1"))
    assert (moe["repeat"], moe["position"], moe["kernel"]) == (1, 0, "flash")
    assert [moe["held_out_loss_nats"], dense["held_out_loss_nats"]] == [
        design["held_out_loss_nats"][name][1] for name in ("moe", "dense")
    ]
    assert len(moe["router_load"]["shares"]) == moe["layers"]
    assert dense["router_load"] is None
    steps = load(result.folder / "moe-r1").steps()
    assert steps["flops"].iloc[0] == moe["flops_per_token_executed"] * steps["tokens"].iloc[0]


@pytest.mark.slow
def test_an_experiment_goes_on_with_what_is_missing_and_sweeps(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "out": tmp_path / "bench",
        "variants": ["dense", "linear"],
        "seconds": 2.0,
        "warmup_s": 0.0,
        "progress": False,
    }
    first = run_bench(repeats=1, **asked)
    assert any("not balanced" in notice for notice in first.notices)
    result = run_bench(repeats=2, resume=True, sweep_seq=[128, 64], **asked)
    assert [run.name for run in result.runs] == ["dense-r0", "linear-r0", "linear-r1", "dense-r1"]
    assert not any("not balanced" in notice for notice in result.notices)
    assert {name: len(losses) for name, losses in result.held_out_loss_nats.items()} == {
        "dense": 2,
        "linear": 2,
    }
    assert [found.n for found in result.comparison.results] == [2]
    assert result.sequence_sweep is not None
    rows = json.loads(result.sequence_sweep.read_text(encoding="utf-8"))["rows"]
    assert [(row["sequence"], row["variant"], row["kernel"], row["batch"]) for row in rows] == [
        (64, "dense", "flash", 32),
        (64, "linear", "chunked", 32),
        (128, "dense", "flash", 16),
        (128, "linear", "chunked", 16),
    ]
    for row in rows:
        assert row["n"] == len(row["times_s_per_token"]) == 2
        assert row["time_s_per_token"] > 0
    # The sweep is no part of the comparison of the folder.
    assert len(run_folders(result.folder)) == 4


@pytest.mark.slow
def test_a_budget_that_is_too_small_leaves_whole_repeats_and_says_so(tmp_path: Path) -> None:
    result = run_bench(
        out=tmp_path / "bench", repeats=6, seconds=2.0, warmup_s=0.0, budget_s=1.0, progress=False
    )
    assert result.done_repeats == 1
    assert len(result.runs) == 3
    assert any("1 of 6 repeats" in notice for notice in result.notices)
