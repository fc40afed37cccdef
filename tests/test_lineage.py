"""Laws of lineage: what a run goes on from is kept with it, counted once, and never zero."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from test_summary_schema import a_run, complaints

import greenai
from greenai.errors import OrderError, RecordError
from greenai.exporters.outline import outline_of
from greenai.live.tracker import Tracker
from greenai.record.manifest import write_run_manifest
from greenai.record.parent import ancestors_in, check_lineage, lineage_for
from greenai.record.types import Record
from greenai.run import Run
from greenai.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def a_parent(folder: Path, run_id: str, summary: Mapping[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    write_run_manifest(folder, {"run_id": run_id, "variant": "base", "started_utc": "2026-01-01"})
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps({"run_id": run_id, **summary}))
    return folder


def child_of(lineage: list[dict[str, Any]]) -> Run:
    run = a_run(metered=True)
    record = run.record
    return Run(Record(record.folder, {**record.manifest, "lineage": lineage}, record.attempts))


def test_the_lineage_stands_without_the_parents_folder(tmp_path: Path) -> None:
    """Given a base run, a fine-tuning of it and one of that, the last knows what all used."""
    known = {"energy_j": 7200.0, "coverage": 1.0, "operational_co2e_g": 2.0}
    base = a_parent(tmp_path / "base", "b1", known)
    tuned = tmp_path / "tuned"
    with greenai.track(tuned, sensors=[], parent=base) as tracker:
        tracker.step()
    manifest = json.loads((tuned / "manifest.json").read_text())
    assert str(tmp_path) not in json.dumps(manifest)
    assert [one["run_id"] for one in manifest["lineage"]] == ["b1"]
    further = lineage_for(str(tuned), tmp_path)
    assert [one["run_id"] for one in further] == [manifest["run_id"], "b1"]
    assert further[0]["energy_j"] is None  # nothing was metered: unknown, not zero
    assert further[1] == {**known, "run_id": "b1", "variant": "base", "started_utc": "2026-01-01"}
    assert lineage_for("b1", tmp_path) == further[1:]  # by its id, beside it


def test_a_summary_from_before_a_parent_went_on_is_not_believed(tmp_path: Path) -> None:
    """Given a summary older than the record, what the samplers have said since counts."""
    base = a_parent(tmp_path / "base", "b1", {"energy_j": 7200.0, "coverage": 1.0})
    os.utime(base / "summary.json", ns=(1, 1))
    attempt = base / "rank-0" / "attempt-a"
    attempt.mkdir(parents=True)
    (attempt / "live.json").write_text(json.dumps({"energy_j": 9000.0}))
    (attempt / "readings.frames").write_bytes(b"")
    assert lineage_for(str(base), tmp_path)[0]["energy_j"] == 9000.0
    os.utime(base / "summary.json", ns=(2**62, 2**62))
    assert lineage_for(str(base), tmp_path)[0]["energy_j"] == 7200.0


def test_a_report_says_what_all_of_them_used() -> None:
    alone = a_run(metered=True)
    base = {"run_id": "b1", "variant": "base", "started_utc": "", "energy_j": 1000.0}
    run = child_of([{**base, "coverage": 0.5, "operational_co2e_g": 3.0}])
    lineage = run.summary()["lineage"]
    assert lineage["energy_j"] == pytest.approx(alone.energy() + 1000)
    assert lineage["estimated_j"] == pytest.approx(alone.energy() / alone.coverage() + 2000)
    assert lineage["operational_co2e_g"] == pytest.approx(
        alone.footprint().operational_co2e_g + 3.0
    )
    assert run.energy() == alone.energy()  # the run's own figures are its own
    facts = {fact.name: fact.value for fact in outline_of(run).work}
    assert facts["Energy of the lineage"] == "1.50 kJ"
    assert complaints(run.summary()) == []
    assert alone.summary()["lineage"] is None


def test_what_is_unknown_of_a_lineage_is_never_zero() -> None:
    unknown = {"run_id": "gone", "energy_j": None, "coverage": None, "operational_co2e_g": None}
    run = child_of([unknown, {**unknown, "run_id": "b1", "energy_j": 1000.0}])
    lineage = run.summary()["lineage"]
    assert lineage["energy_j"] is lineage["estimated_j"] is lineage["operational_co2e_g"] is None
    assert lineage["known_j"] == pytest.approx(run.energy() + 1000)
    assert any("energy of gone, which this run goes on from, is unknown" in n for n in run.notices)
    facts = {fact.name: fact.value for fact in outline_of(run).work}
    assert facts["Energy of the lineage"].startswith("more than 1.50 kJ")
    assert complaints(run.summary()) == []


def test_circles_and_missing_parents_are_refused_before_anything_starts(tmp_path: Path) -> None:
    base = a_parent(tmp_path / "base", "b1")
    with pytest.raises(OrderError, match="circle"):
        check_lineage(lineage_for(str(base), tmp_path), "b1")
    write_run_manifest(base, {"run_id": "b1", "lineage": [{"run_id": "a0"}, {"run_id": "b1"}]})
    with pytest.raises(OrderError, match="circle"):
        greenai.track(tmp_path / "new", sensors=[], parent=base).start()
    with pytest.raises(OrderError, match="no folder"):
        greenai.track(tmp_path / "new", sensors=[], parent=tmp_path / "missing").start()
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError):
        greenai.track(tmp_path / "new", sensors=[], parent=tmp_path / "empty").start()
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_the_parent_begins_another_run(tmp_path: Path) -> None:
    """Given the parent's id from a restored checkpoint, fine-tuning it is no restart of it."""
    base = a_parent(tmp_path / "base", "b1")
    settings = resolve({}, folder=tmp_path / "tuned", sensors=[], parent=base)
    tracker = Tracker(settings, resume_run_id="b1").start()
    tracker.stop()
    assert tracker.run_id != "b1"
    again = Tracker(settings, resume_run_id=tracker.run_id).start()
    again.stop()
    assert again.run_folder == tracker.run_folder  # its own checkpoint is a restart


def test_the_energy_of_a_parent_without_a_summary_is_what_its_samplers_settled(
    tmp_path: Path,
) -> None:
    base = a_parent(tmp_path / "base", "b1")
    for rank, energy_j in enumerate((100.0, 50.0)):
        attempt = base / f"rank-{rank}" / "attempt-x"
        attempt.mkdir(parents=True)
        settled = {"energy_j": energy_j, "operational_co2e_g": energy_j / 100}
        (attempt / "live.json").write_text(json.dumps(settled))
    (found,) = lineage_for(str(base), tmp_path)
    assert (found["energy_j"], found["operational_co2e_g"]) == (150.0, 1.5)
    assert found["coverage"] is None
    lineage = child_of([found]).summary()["lineage"]
    assert lineage["energy_j"] == pytest.approx(a_run(metered=True).energy() + 150)
    assert lineage["estimated_j"] is None  # nobody knows what share of the parent that is
    (attempt / "live.json").write_text(json.dumps({"energy_j": None}))
    assert lineage_for(str(base), tmp_path)[0]["energy_j"] is None


@pytest.mark.parametrize(
    "lineage", [None, 5, "x", [1], [{}], [{"run_id": "../x"}], [{"run_id": 3, "energy_j": -1}] * 99]
)
def test_a_lineage_from_elsewhere_is_data(lineage: Any) -> None:
    found = ancestors_in({"lineage": lineage})
    assert len(found) <= 64
    assert all(one["energy_j"] is None for one in found)
    child_of(lineage).summary()
