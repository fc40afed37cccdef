"""Laws of opening a record: everything that was written, or an error that says where and what."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from greenai.errors import RecordError
from greenai.record.claim import RESUME_ASKED
from greenai.record.reader import open_record
from greenai.record.types import FIRST, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeRun = Callable[..., Path]

ATTEMPT = "rank-0/attempt-first"


def numbers(record: Record) -> list[Any]:
    """All numbers of a record, comparable."""
    return [
        [
            [one.t_lo_ns.tolist(), one.t_hi_ns.tolist(), one.value.tolist(), one.kind.tolist()]
            for one in at.readings
        ]
        + [at.marks.t_ns.tolist(), at.marks.index.tolist(), repr(at.marks.value.tolist())]
        for at in record.attempts
    ]


def test_a_record_holds_all_that_was_written(make_run: MakeRun) -> None:
    record = open_record(make_run())
    (attempt,) = record.attempts
    assert (record.run_id, record.variant, record.problems) == ("r1", "dense", ())
    assert (attempt.rank, attempt.attempt, attempt.launch_id) == (0, 0, "first")
    assert (attempt.ended, attempt.problems) == ("stopped", ())
    assert [one.channel for one in attempt.readings] == list(attempt.channels)
    assert attempt.readings[1].value.tolist() == [1000.0, 1001.0, 1002.0]
    assert attempt.readings[1].kind[0] == FIRST
    assert [len(attempt.anchors), len(attempt.events)] == [3, 1]
    marks = attempt.marks
    assert [marks.names[one] for one in marks.name[1:3]] == ["tokens", "loss"]
    assert math.isnan(marks.value[5])
    assert np.all(np.diff(marks.t_ns) >= 0)


@pytest.mark.parametrize(
    "inside",
    ["manifest.json", "rank-0", ATTEMPT, f"{ATTEMPT}/manifest.json", f"{ATTEMPT}/marks.frames"],
)
def test_a_path_inside_the_run_leads_to_it(
    make_run: MakeRun, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run()
    assert open_record(folder / inside).run_id == "r1"
    monkeypatch.chdir(folder)
    assert open_record(inside).run_id == "r1"
    assert open_record(".").run_id == "r1"


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path: Path, make_run: MakeRun) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        open_record(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no run"):
        open_record(tmp_path / "empty")
    folder = make_run()
    with pytest.raises(RecordError, match="holds no run") as caught:
        open_record(tmp_path)
    assert str(folder) in caught.value.hint


def test_a_run_without_data_is_an_error(make_run: MakeRun) -> None:
    folder = make_run()
    for name in ("marks.frames", "readings.frames", "events.jsonl"):
        (folder / ATTEMPT / name).write_bytes(b"")
    with pytest.raises(RecordError, match="nothing was recorded"):
        open_record(folder)
    shutil.rmtree(folder / "rank-0")
    with pytest.raises(RecordError, match="nothing was recorded"):
        open_record(folder)


@pytest.mark.parametrize("where", ["manifest.json", f"{ATTEMPT}/manifest.json"])
def test_another_schema_version_is_refused(make_run: MakeRun, where: str) -> None:
    folder = make_run()
    manifest = json.loads((folder / where).read_text())
    (folder / where).write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(RecordError, match="schema version 99"):
        open_record(folder)


@pytest.mark.parametrize("name", ["marks.frames", "readings.frames"])
def test_a_file_cut_anywhere_is_read_up_to_there_and_said(make_run: MakeRun, name: str) -> None:
    folder = make_run()
    path = folder / ATTEMPT / name
    data = path.read_bytes()
    whole = numbers(open_record(folder))
    seen = set()
    for size in range(0, len(data), 3):
        path.write_bytes(data[:size])
        (attempt,) = open_record(folder).attempts
        rows = len(attempt.marks.t_ns) if name == "marks.frames" else len(attempt.readings[0].value)
        seen.add(rows)
        border = not attempt.problems
        assert border or (name in attempt.problems[0] and "left out" in attempt.problems[0])
        if name == "readings.frames":
            expected = whole[0][0][2][:rows]
            assert attempt.readings[0].value.tolist() == expected
        else:
            assert attempt.marks.index.tolist() == whole[0][3][:rows]
    assert seen == ({0, 4, 7} if name == "marks.frames" else {0, 1, 2})


@pytest.mark.parametrize("name", ["marks.frames", "readings.frames"])
def test_a_flipped_byte_never_gives_a_wrong_number(make_run: MakeRun, name: str) -> None:
    folder = make_run()
    path = folder / ATTEMPT / name
    data = path.read_bytes()
    last = data.rindex(b"\xa7GF\x01")
    whole = open_record(folder).attempts[0]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        if position < last:
            with pytest.raises(RecordError, match=name) as caught:
                open_record(folder)
            assert caught.value.path == path
            assert caught.value.offset is not None
            assert caught.value.offset <= position
            if position % 9:
                continue
        (attempt,) = open_record(folder, partial=position < last).attempts
        assert attempt.problems
        rows = len(attempt.marks.t_ns)
        assert attempt.marks.t_ns.tolist() == whole.marks.t_ns.tolist()[:rows]
        assert repr(attempt.marks.value.tolist()) == repr(whole.marks.value.tolist()[:rows])
        for one, complete in zip(attempt.readings, whole.readings, strict=True):
            assert one.value.tolist() == complete.value.tolist()[: len(one.value)]
            assert one.t_lo_ns.tolist() == complete.t_lo_ns.tolist()[: len(one.value)]


def test_a_frame_with_a_good_crc_and_strange_content_is_refused(make_run: MakeRun) -> None:
    from greenai.record.frames import frame_bytes  # noqa: PLC0415 - for this law alone

    folder = make_run()
    path = folder / ATTEMPT / "marks.frames"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + frame_bytes(b"made up"))
    with pytest.raises(RecordError, match=f"marks.frames is damaged at byte {size}") as caught:
        open_record(folder)
    assert caught.value.offset == size
    (attempt,) = open_record(folder, partial=True).attempts
    assert len(attempt.marks.t_ns) == 11
    assert "left out" in attempt.problems[0]


def test_events_are_cut_where_they_are_torn_and_refused_where_they_are_damaged(
    make_run: MakeRun,
) -> None:
    folder = make_run()
    path = folder / ATTEMPT / "events.jsonl"
    line = path.read_text()
    path.write_text(line + '{"t_ns": 5, "wh')
    (attempt,) = open_record(folder).attempts
    assert len(attempt.events) == 1
    assert "events.jsonl" in attempt.problems[0]
    for bad in ("", "{}", "[1]", '{"t_ns": "5", "what": "x"}', '{"t_ns": 5}', "x" * 70_000):
        path.write_text(line + bad + "\n" + line)
        with pytest.raises(RecordError, match=r"events\.jsonl") as caught:
            open_record(folder)
        assert caught.value.offset == len(line)
        (attempt,) = open_record(folder, partial=True).attempts
        assert len(attempt.events) == 1
        assert attempt.problems


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ([], "unknown"),
        (["parent_died"], "parent_died"),
        (["parent_died", "stopped"], "stopped"),
        (["read_failed"], "unknown"),
    ],
)
def test_how_a_run_ended_is_derived(make_run: MakeRun, events: list[str], ended: str) -> None:
    folder = make_run()
    marks = folder / ATTEMPT / "marks.frames"
    marks.write_bytes(marks.read_bytes()[: marks.read_bytes().rindex(b"\xa7GF\x01")])
    lines = [json.dumps({"t_ns": 1, "what": what, "reason": ""}) + "\n" for what in events]
    (folder / ATTEMPT / "events.jsonl").write_text("".join(lines))
    assert open_record(folder).attempts[0].ended == ended


def test_a_stop_mark_is_the_trainings_word(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / ATTEMPT / "events.jsonl").unlink()
    assert open_record(folder).attempts[0].ended == "stopped"


def test_attempts_are_ordered_by_launch_then_rank(make_run: MakeRun) -> None:
    for launch_id, minute in (("zero", 3), ("late", 1), ("mid", 2)):
        for rank in (1, 0):
            make_run(
                launch_id=launch_id,
                rank=rank,
                shared=True,
                evidence=RESUME_ASKED,
                started_utc=f"2026-07-01T10:0{minute}:0{rank}+00:00",
            )
    record = open_record(make_run(launch_id="last", evidence=RESUME_ASKED, started_utc="2027"))
    found = [(one.attempt, one.rank, one.launch_id) for one in record.attempts]
    launches = enumerate(("late", "mid", "zero"))
    expected = [(number, rank, name) for number, name in launches for rank in (0, 1)]
    assert found == [*expected, (3, 0, "last")]


def test_readings_of_a_channel_are_in_time_order(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / ATTEMPT / "readings.frames"
    data = path.read_bytes()
    second = data.index(b"\xa7GF\x01", 1)
    path.write_bytes(data[second:] + data[:second])
    for one in open_record(folder).attempts[0].readings:
        assert np.all(np.diff(one.t_hi_ns) > 0)
        assert np.all(np.diff(one.value) > 0)


def test_what_frames_refer_to_must_be_in_the_manifest(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / ATTEMPT / "manifest.json"
    manifest = json.loads(path.read_text())
    for change, match in (
        ({"channels": manifest["channels"][:1]}, "channel 1"),
        ({"names": manifest["names"][:5]}, "name 11"),
        ({"run_id": "r2"}, "run_id 'r2'"),
        ({"rank": 4}, "rank 4"),
    ):
        path.write_text(json.dumps({**manifest, **change}))
        with pytest.raises(RecordError, match=match):
            open_record(folder)


def test_partial_leaves_out_an_attempt_that_cannot_be_read(make_run: MakeRun) -> None:
    make_run()
    folder = make_run(launch_id="second", evidence=RESUME_ASKED)
    (folder / "rank-0" / "attempt-second" / "manifest.json").write_text("{")
    with pytest.raises(RecordError, match="attempt-second"):
        open_record(folder)
    record = open_record(folder, partial=True)
    assert [one.launch_id for one in record.attempts] == ["first"]
    assert "attempt-second is left out" in record.problems[0]


def test_an_attempt_that_was_killed_at_once_is_said(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "rank-0" / "attempt-second").mkdir()
    record = open_record(folder)
    assert len(record.attempts) == 1
    assert "attempt-second" in record.problems[0]


def test_a_run_whose_rank_0_never_began_is_read_with_a_problem(make_run: MakeRun) -> None:
    folder = make_run(rank=2, shared=True)
    assert not (folder / "manifest.json").exists()
    record = open_record(folder)
    assert (record.run_id, record.variant, record.attempts[0].rank) == ("r1", "", 2)
    assert "manifest is missing" in record.problems[0]
    shutil.rmtree(folder / "launches")
    with pytest.raises(RecordError, match=r"manifest\.json is missing"):
        open_record(folder)


@pytest.mark.parametrize(
    "what", ["rank-0", ATTEMPT, *(f"{ATTEMPT}/{name}" for name in ("marks.frames", "events.jsonl"))]
)
def test_a_link_does_not_lead_out_of_the_record(
    tmp_path: Path, make_run: MakeRun, what: str
) -> None:
    folder = make_run()
    moved = tmp_path / "elsewhere"
    (folder / what).rename(moved)
    (folder / what).symlink_to(moved)
    with pytest.raises(RecordError) as caught:
        open_record(folder)
    assert caught.value.path == folder / what


def test_reading_changes_nothing_on_disk(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / ATTEMPT / "marks.frames"
    path.write_bytes(path.read_bytes()[:-3])
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*")}
    assert numbers(open_record(folder)) == numbers(open_record(folder))
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*")} == before


def test_other_files_in_the_folder_do_not_matter(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "steps.csv").write_text("derived")
    (folder / "rank-x").mkdir()
    (folder / "rank-0" / "notes.txt").write_text("mine")
    (folder / "rank-0" / "attempt- bad").mkdir()
    assert len(open_record(folder).attempts) == 1
