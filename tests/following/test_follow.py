"""Laws of following: what is shown is what the record says, whatever happens to its files."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from simulation.growing import GrowingRun

import greenai
from greenai.following import attempt as attempts
from greenai.following.folder import Watch
from greenai.following.run import RunFollower, follow

if TYPE_CHECKING:
    from pathlib import Path

TOTALS = ("energy_j", "steps_j", "steps", "tokens", "j_per_token", "j_per_step", "duration_s",
          "operational_co2e_g", "intensity_g_per_kwh", "pue")  # fmt: skip
CPU = {"kind": "cpu", "device": "cpu-package-0", "device_key": "host/package-0"}


def followed(folder: Path, known: RunFollower | None = None) -> RunFollower:
    """Follow until nothing more is to be had; twice, because the newest readings wait one look."""
    follower, quiet = known, 0
    while quiet < 3:
        follower, more = follow(folder, follower)
        quiet = 0 if more else quiet + 1
    assert follower is not None
    return follower


def assert_is_what_the_report_says(follower: RunFollower, folder: Path) -> None:
    run = greenai.load(folder)
    summary, totals = run.summary(), follower.totals()
    for name in TOTALS:
        assert totals[name] == pytest.approx(summary[name], rel=1e-9), name
    phases = run.phases()["energy_j"].fillna(0).tolist()
    assert follower.settled_j().tolist() == pytest.approx(phases, rel=1e-9, abs=1e-9)
    steps = run.steps()
    rows = follower.curves["step_j"].rows()
    assert len(rows) == len(steps)
    for column, name in ((2, "energy_low_j"), (3, "energy_j"), (4, "energy_high_j")):
        assert rows[:, column] == pytest.approx(steps[name].to_numpy(), rel=1e-9, abs=1e-9), name
    assert rows[:, 1] == pytest.approx(steps["end_s"].to_numpy(), abs=1e-6)
    assert follower.curves["loss"].rows()[:, 3] == pytest.approx(steps["loss"].to_numpy())


@pytest.mark.parametrize("step_s", [0.11, 2.3])
@pytest.mark.parametrize("tail_s", [0.7, 1.0, 50.0])
def test_a_run_followed_as_it_grows_is_what_the_report_says(
    tmp_path: Path, step_s: float, tail_s: float
) -> None:
    run = GrowingRun(tmp_path / "run", step_s=step_s, channels=({}, CPU))
    follower = None
    while run.grow(tail_s):
        follower, _ = follow(run.folder, follower)
        if follower is not None and follower.attempts:
            assert follower.state() == "live"
    follower = followed(run.folder, follower)
    assert follower.state() == "stopped"
    assert_is_what_the_report_says(follower, run.folder)


def test_power_by_device_and_time_outside_of_steps_are_drawn(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run", channels=({}, CPU))
    run.finish()
    follower = followed(run.folder)
    for key in ("power:0:gpu0", "power:0:cpu-package-0"):
        power_w = follower.curves[key].rows()[2:-2, 3]
        assert power_w == pytest.approx(300, rel=0.35)
    assert {phase for phase, _, _ in follower.spans} >= {"validation"}
    lengths = [end - begin for phase, begin, end in follower.spans if phase == "validation"]
    assert lengths == pytest.approx([0.02] * len(lengths), abs=1e-6)
    emitted = follower.curves["co2e_g"].rows()[-1, 3]
    assert emitted == pytest.approx(follower.totals()["operational_co2e_g"])


def test_emissions_of_an_intensity_that_changes_are_those_that_the_sampler_tells(
    tmp_path: Path,
) -> None:
    settings = {"intensity_file": {"value": "hourly.csv"}, "country": {"value": "FRA"}}
    run = GrowingRun(tmp_path / "run", settings=settings)
    follower = None
    for emitted_g in (1.0, 3.0, 4.0):
        run.grow(4.0)
        figures = {"intensity_g_per_kwh": 50.0 * emitted_g}
        run.live = {"operational_co2e_g": emitted_g, "figures": figures}
        run.grow(0.1)
        follower = followed(run.folder, follower)
        assert follower.totals()["operational_co2e_g"] == emitted_g
        assert follower.curves["intensity"].rows()[-1, 3] == 50.0 * emitted_g
    assert follower is not None
    assert follower.curves["co2e_g"].rows()[:, 3].tolist() == [1.0, 3.0, 4.0]


def test_ranks_of_one_host_count_a_shared_device_once(tmp_path: Path) -> None:
    own = {"device": "gpu1", "device_key": "GPU-1"}
    folder = tmp_path / "run"
    ranks = [
        GrowingRun(folder, rank=0, ranks=2, channels=({}, CPU)),
        GrowingRun(folder, rank=1, ranks=2, channels=(own, CPU)),
    ]
    follower = None
    while not all(rank.done for rank in ranks):
        for rank in ranks:
            if not rank.done:
                rank.grow()
                follower, _ = follow(folder, follower)
    follower = followed(folder, follower)
    assert_is_what_the_report_says(follower, folder)


def test_a_restarted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    GrowingRun(folder, launch="a").finish()
    follower = followed(folder)
    second = GrowingRun(folder, launch="b", begin_s=30.0, first_step=70)
    while second.grow():
        follower, _ = follow(folder, follower)
    follower = followed(folder, follower)
    assert_is_what_the_report_says(follower, folder)
    times = follower.curves["step_j"].rows()[:, 0]
    assert (np.diff(times) > 0).all()
    assert times[-1] > 30


def test_a_frame_that_is_being_written_is_no_error_and_comes_whole(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run")
    run.grow(6.0)
    path = run.attempt / "marks.frames"
    begun = path.stat().st_size
    run.finish()
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(begun + (len(whole) - begun) // 2)
    follower, _ = follow(run.folder, None)
    follower, _ = follow(run.folder, follower)
    with path.open("r+b") as file:
        file.write(whole)
    follower = followed(run.folder, follower)
    assert follower.notices() == []
    assert_is_what_the_report_says(follower, run.folder)


def test_damage_is_said_and_what_lies_before_it_stays(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run")
    run.grow(6.0)
    path = run.attempt / "marks.frames"
    begun = path.stat().st_size
    run.finish()
    data = bytearray(path.read_bytes())
    data[begun + 20] ^= 1
    path.write_bytes(bytes(data))
    follower = followed(run.folder)
    assert any(f"damaged at byte {begun}" in notice for notice in follower.notices())
    assert 0 < follower.steps < 90


def test_another_record_in_the_place_of_the_first_is_followed_from_its_beginning(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    first = GrowingRun(folder)
    first.finish()
    follower = followed(folder)
    shutil.rmtree(folder)
    GrowingRun(folder, step_s=0.5, run_id="other").finish()
    follower = followed(folder, follower)
    assert follower.manifest["run_id"] == "other"
    assert_is_what_the_report_says(follower, folder)


def test_an_attempt_that_is_left_alone_is_silent_and_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(attempts.AttemptFollower.__init__, "__defaults__", (lambda: now_s[0],))
    run = GrowingRun(tmp_path / "run")
    run.grow(6.0)
    follower = followed(run.folder)
    assert follower.state() == "live"
    now_s[0] += 60.0
    follower = followed(run.folder, follower)
    assert follower.state() == "silent"
    run.finish()
    follower = followed(run.folder, follower)
    assert_is_what_the_report_says(follower, run.folder)


def test_a_link_in_a_record_is_not_followed(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run")
    run.finish()
    marks = run.attempt / "marks.frames"
    marks.rename(tmp_path / "elsewhere")
    marks.symlink_to(tmp_path / "elsewhere")
    follower = followed(run.folder)
    assert follower.steps == 0
    assert any("marks.frames" in notice for notice in follower.notices())


def settled(watch: Watch) -> dict[str, Any]:
    watch._scanned = -1e9
    for _ in range(4):
        while watch.update():
            pass
    return watch.state()


def test_runs_appear_and_go_while_their_folder_is_watched(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    assert settled(watch)["order"] == []
    run = GrowingRun(tmp_path / "p" / "dense", run_id="one")
    run.grow(4.0)
    assert [one["facts"]["name"] for one in settled(watch)["runs"].values()] == ["p/dense"]
    other = GrowingRun(tmp_path / "p" / "moe", run_id="two")
    other.grow(4.0)
    state = settled(watch)
    assert {one["facts"]["state"] for one in state["runs"].values()} == {"live"}
    assert {one["facts"]["run_id"] for one in state["runs"].values()} == {"one", "two"}
    run.remove()
    other.finish()
    facts = {one["facts"]["run_id"]: one["facts"] for one in settled(watch)["runs"].values()}
    assert "folder is gone" in facts["one"]["notices"][0]
    assert facts["two"]["state"] == "stopped"
    assert facts["two"]["totals"]["steps"] > facts["one"]["totals"]["steps"] > 0


def test_what_is_no_run_disturbs_nothing(tmp_path: Path) -> None:
    for name, content in (("a", "{"), ("b", '{"schema_version": 99}'), ("c", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    (tmp_path / "loop").symlink_to(tmp_path)
    run = GrowingRun(tmp_path / "good")
    run.finish()
    state = settled(Watch(tmp_path))
    assert [one["facts"]["name"] for one in state["runs"].values()] == ["good"]


def test_a_run_whose_manifest_cannot_be_read_is_shown_and_says_so(tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run")
    run.finish()
    file = run.folder / "manifest.json"
    content = file.read_text()
    file.write_text("{")
    watch = Watch(tmp_path)
    (view,) = settled(watch)["runs"].values()
    assert view["facts"]["totals"]["energy_j"] > 0
    assert "Variant and place are unknown" in view["facts"]["notices"][0]
    file.write_text(content)
    (view,) = settled(watch)["runs"].values()
    assert not any("Variant and place" in notice for notice in view["facts"]["notices"])


def test_names_come_cut_and_printable(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\x1b[2J\u202e" + "x" * 10_000
    run = GrowingRun(tmp_path / "run", variant=name, channels=({"device": name, "model": name},))
    run.say("read_failed", name)
    run.finish()
    watch = Watch(tmp_path)
    facts = next(iter(settled(watch)["runs"].values()))["facts"]
    texts = (facts["variant"], facts["devices"][0]["device"], facts["events"][0]["reason"])
    for text in texts:
        assert text.startswith("<script>alert(1)<")
        assert len(text) <= 300
        assert text.isprintable()
