"""Laws of long runs: millions of steps take bytes, not kilobytes, each; no number depends on it."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import greenai
from greenai import step_table
from greenai.analysis import stretches
from greenai.exporters import tables
from greenai.merging import Part
from greenai.record.manifest import write_manifest
from greenai.record.types import CHANGE, FIRST, FIXED_NAMES, NOTE, STEP_END, STOP, Anchor
from greenai.record.writer import RecordWriter
from greenai.sensors.base import Channel

if TYPE_CHECKING:
    from pathlib import Path

S = 10**9
STEP_NS = 50_000
STEPS = 300_000
BYTES_PER_STEP_MAX = 400
"""Of load and summary, all arrays of one moment together: 190 when this was written."""


def a_long_run(folder: Path, steps: int) -> Path:
    """A run of one GPU at 100 W whose steps follow each other every 50 µs."""
    meter = Channel(
        "energy_j", "gpu", "gpu0", "GPU-0", "nvml_energy", "measured", True,
        refresh_ns=S // 10, power_max_w=700.0,
    )  # fmt: skip
    attempt = folder / "rank-0" / "attempt-first"
    attempt.mkdir(parents=True)
    write_manifest(folder, {"run_id": "long", "variant": "quick", "config": {}})
    writer = RecordWriter(attempt)
    facts = {"run_id": "long", "launch_id": "first", "rank": 0, "world_size": 1, "local_rank": 0}
    about = {"host": "h", "started_utc": "2026-07-01T10:00:00+00:00", "refused": []}
    channels = [meter.to_json()]
    writer.write_manifest({**facts, **about, "channels": channels, "names": list(FIXED_NAMES)})
    end_ns = S + steps * STEP_NS
    anchor = Anchor(end_ns, 1_790_000_000 * S, end_ns)
    moments_ns = range(0, end_ns + S, S // 10)
    writer.write_readings(
        [(0, t, t + 1000, t * 100 / S, CHANGE if t else FIRST) for t in moments_ns], anchor
    )
    start = FIXED_NAMES.index("train_start")
    marks: list[Any] = [(S, NOTE, start, 0, 0.0)]
    marks += [(S + (n + 1) * STEP_NS, STEP_END, 0, n, 1.0) for n in range(steps)]
    writer.write_marks([*marks, (end_ns, STOP, 0, 0, 0.0)], anchor)
    writer.close()
    return folder


def test_a_step_takes_few_bytes_until_the_summary_is_there(tmp_path: Path) -> None:
    greenai.load(a_long_run(tmp_path / "short", 100)).summary()  # what is imported is no step's
    folder = a_long_run(tmp_path / "long", STEPS)
    tracemalloc.start()
    try:
        summary = greenai.load(folder).summary()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (summary["steps"], summary["ended"]) == (STEPS, "stopped")
    assert summary["steps_j"] == pytest.approx(100.0 * STEPS * STEP_NS / S, rel=1e-3)
    assert peak_bytes / STEPS < BYTES_PER_STEP_MAX


def test_no_number_depends_on_how_long_a_stretch_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_long_run(tmp_path / "run", 1000)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    tables.export(greenai.load(folder), whole)
    monkeypatch.setattr(stretches, "STRETCH", 7)
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 13)
    tables.export(greenai.load(folder), cut)
    assert json.loads((cut / "summary.json").read_text())["steps"] == 1000
    for name in ("summary.json", "steps.csv", "phases.csv"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    one, other = (tables.pq.read_table(at / "steps.parquet") for at in (whole, cut))
    assert one.equals(other)


def a_rank(rank: int, index: list[int], energy_j: list[float], tokens: list[float]) -> Part:
    """Steps of a rank, as far as their sums are concerned."""
    energies = SimpleNamespace(
        timeline=SimpleNamespace(steps=SimpleNamespace(index=np.array(index), tokens=tokens)),
        channels=(object(),),
        step_j=np.array(energy_j),
    )
    attempt = SimpleNamespace(
        attempt=0, rank=rank, launch_id="first", anchors=(), manifest={"world_size": 2}
    )
    return Part(attempt, energies)  # type: ignore[arg-type] # what is read of them


def test_an_unknown_of_one_rank_makes_the_step_unknown_and_a_lone_step_keeps_its_own() -> None:
    nan = float("nan")
    parts = (
        a_rank(0, [0, 1, 2], [1.0, 2.0, 3.0], [10.0, nan, 10.0]),
        a_rank(1, [1, 2, 3], [20.0, nan, 40.0], [10.0, 10.0, 10.0]),
    )
    steps = step_table.steps_of(parts, ("energy_j", "tokens"))
    assert steps["step"].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(steps["energy_j"], [1.0, 22.0, nan, 40.0])
    np.testing.assert_array_equal(steps["tokens"], [10.0, nan, 20.0, 10.0])
