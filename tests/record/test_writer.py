"""Laws of the writer: whole or not at all; a restarted sampler goes on where the last one was."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from greenai.errors import OrderError
from greenai.record.attempts import open_attempt
from greenai.record.types import CHANGE, STEP_END, Anchor
from greenai.record.writer import RecordWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from greenai.sensors.base import Channel

    Manifest = Callable[..., dict[str, Any]]

ROW = (0, 10, 20, 1.5, CHANGE)
MARK = (15, STEP_END, 0, 0, 1.0)


def opened(folder: Path) -> Any:
    attempt = open_attempt(folder)
    assert attempt is not None
    return attempt


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_rows_beyond_one_frame_are_all_there(
    tmp_path: Path, anchor: Anchor, attempt_manifest: Manifest
) -> None:
    writer = RecordWriter(tmp_path)
    writer.write_manifest(attempt_manifest())
    writer.write_marks([(n, STEP_END, 0, n, 1.0) for n in range(150_000)], anchor)
    writer.close()
    writer.close()
    assert opened(tmp_path).marks.index.tolist() == list(range(150_000))


def test_no_rows_leave_no_file(tmp_path: Path, anchor: Anchor) -> None:
    writer = RecordWriter(tmp_path)
    writer.write_readings([], anchor)
    writer.write_marks([], anchor)
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 1, 100, 1000])
def test_a_full_disk_keeps_the_file_good_and_nothing_is_there_twice(
    tmp_path: Path,
    anchor: Anchor,
    attempt_manifest: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    writer = RecordWriter(tmp_path)
    writer.write_manifest(attempt_manifest())
    rows = [(0, n, n + 1, float(n), CHANGE) for n in range(70_000)]
    writer.write_readings(rows[:10], anchor)
    writer.write_event(1, "begun", "")
    write, left = os.write, room

    def refuse(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(descriptor, bytes(data[:left]))
        left -= taken
        return taken

    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        attempts: list[Callable[[], None]] = [
            lambda: writer.write_readings(rows[10:], anchor),
            lambda: writer.write_marks([MARK], anchor),
            lambda: writer.write_event(2, "warned", "x" * 2000),
            lambda: writer.write_manifest(attempt_manifest(host="other")),
            lambda: writer.write_live({"steps": [0] * 100}),
        ]
        for attempted in attempts:
            left = min(room, 50) if room else 0
            with pytest.raises(OSError, match="No space") as caught:
                attempted()
            assert str(tmp_path) not in str(caught.value), "a path of the user's"
            assert opened(tmp_path).problems == ()
    writer.write_readings(rows[10:], anchor)
    writer.write_marks([MARK], anchor)
    writer.write_event(2, "warned", "")
    writer.close()
    attempt = opened(tmp_path)
    assert attempt.problems == ()
    assert attempt.readings[0].value.tolist() == [row[3] for row in rows]
    assert [event["what"] for event in attempt.events] == ["begun", "warned"]
    assert attempt.manifest["host"] == "0123abcd"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_an_unknown_number_is_null_on_disk(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    writer.write_live({"energy_j": float("nan"), "steps": 3})
    writer.write_event(5, "stopped", "", late_ms=float("inf"), devices=("gpu0",))
    writer.close()
    assert json.loads((tmp_path / "live.json").read_text()) == {"energy_j": None, "steps": 3}
    assert events(tmp_path) == [
        {"t_ns": 5, "what": "stopped", "reason": "", "late_ms": None, "devices": ["gpu0"]}
    ]


def test_an_event_is_one_line_whatever_its_reason(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    for reason in ("two\nlines", "y" * 200_000, "ünïcode\u2028"):
        writer.write_event(5, "read_failed", reason)
    writer.close()
    found = events(tmp_path)
    assert [event["reason"] for event in found] == ["two\nlines", "y" * 1000, "ünïcode\u2028"]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_restarted_sampler_cuts_what_is_torn_and_says_so(
    tmp_path: Path, anchor: Anchor, attempt_manifest: Manifest, cut: int
) -> None:
    writer = RecordWriter(tmp_path)
    writer.write_manifest(attempt_manifest())
    writer.write_readings([ROW], anchor)
    writer.write_readings([ROW], anchor)
    writer.write_event(
        1, "begun", "a reason that is long enough to be cut sixty bytes from its end"
    )
    writer.close()
    for name in ("readings.frames", "events.jsonl"):
        os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - cut)
    size = (tmp_path / "readings.frames").stat().st_size

    again = RecordWriter(tmp_path)
    again.write_manifest(attempt_manifest())
    again.write_readings([(1, 30, 40, 2.5, CHANGE)], anchor)
    again.close()
    attempt = opened(tmp_path)
    assert attempt.problems == ()
    assert [len(one.value) for one in attempt.readings] == [1, 1]
    (event,) = attempt.events
    assert (event["what"], event["file"]) == ("torn_tail_cut", "readings.frames")
    assert event["offset"] + event["size_bytes"] == size


def test_channels_keep_their_positions_when_sensors_open_in_another_order(
    tmp_path: Path,
    anchor: Anchor,
    attempt_manifest: Manifest,
    make_channel: Callable[..., Channel],
) -> None:
    def manifest(*channels: Channel) -> dict[str, Any]:
        return attempt_manifest(channels=[one.to_json() for one in channels])

    gpu, cpu = make_channel(0), make_channel(7, kind="cpu", method="rapl")
    dram = make_channel(8, kind="dram", method="rapl")
    gpu_anew = make_channel(0, refresh_ns=220_000_000)
    first = RecordWriter(tmp_path)
    first.write_manifest(manifest(gpu, cpu))
    first.write_readings([(0, 1, 2, 100.0, CHANGE), (1, 1, 2, 7.0, CHANGE)], anchor)
    first.close()

    second = RecordWriter(tmp_path)
    with pytest.raises(OrderError):
        second.write_readings([(0, 3, 4, 8.0, CHANGE)], anchor)
    second.write_manifest(manifest(cpu))
    second.write_readings([(0, 3, 4, 8.0, CHANGE)], anchor)
    second.write_manifest(manifest(cpu, dram, gpu_anew))
    second.write_readings([(n, 5, 6, v, CHANGE) for n, v in enumerate((9.0, 1.0, 101.0))], anchor)
    second.close()

    attempt = opened(tmp_path)
    by_device = {one.channel.device: one.value.tolist() for one in attempt.readings}
    assert by_device == {"gpu0": [100.0, 101.0], "gpu7": [7.0, 8.0, 9.0], "gpu8": [1.0]}
    assert attempt.channels[0].refresh_ns == 220_000_000


def test_a_link_is_not_written_through(tmp_path: Path, anchor: Anchor) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "attempt"
    folder.mkdir()
    for name in ("marks.frames", "readings.frames", "events.jsonl", "live.json"):
        (folder / name).symlink_to(outside)
    writer = RecordWriter(folder)
    with pytest.raises(OSError, match=r"marks\.frames"):
        writer.write_marks([MARK], anchor)
    with pytest.raises(OSError, match=r"readings\.frames"):
        writer.write_readings([ROW], anchor)
    with pytest.raises(OSError, match=r"events\.jsonl"):
        writer.write_event(1, "begun", "")
    writer.write_live({})
    assert outside.read_text() == "mine"


KILLED = """
import sys
from pathlib import Path
from greenai.record.types import FIXED_NAMES, Anchor
from greenai.record.writer import RecordWriter
writer = RecordWriter(Path(sys.argv[1]))
writer.write_manifest({"run_id": "r1", "launch_id": "l", "rank": 0, "channels": [],
                       "names": list(FIXED_NAMES)})
first = int(sys.argv[2])
for number in range(first, 10**9):
    writer.write_marks([(number, 3, 0, number, float(number))] * 3, Anchor(number, number, number))
    writer.write_event(number, "tick", "")
    writer.write_live({"number": number})
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_was_written(tmp_path: Path) -> None:
    expected: list[int] = []
    for delay_s in (0.0, 0.01, 0.05):
        first = len(expected)
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(first)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        said = first + 1 + len(writer.communicate()[0].splitlines())
        attempt = opened(tmp_path)
        found = attempt.marks.index.tolist()
        assert len(found) // 3 in {said, said + 1}
        expected = list(range(len(found) // 3))
        assert found == [number for number in expected for _ in range(3)]
        assert attempt.marks.value.tolist() == [float(one) for one in found]
        ticks = [event["t_ns"] for event in attempt.events if event["what"] == "tick"]
        assert ticks in (expected, expected[:-1]) or first > 0
        assert attempt.ended == "unknown"
