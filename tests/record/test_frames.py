"""Laws of the frame file: a torn tail is cut, damage is located, nothing wrong is ever returned."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai.errors import OrderError, RecordError
from greenai.record.frames import (
    HEADER_BYTES,
    MAGIC,
    PAYLOAD_BYTES_MAX,
    FrameReader,
    TornTail,
    append_frame,
    frame_bytes,
    open_for_append,
    read_frames,
)

if TYPE_CHECKING:
    from pathlib import Path

PAYLOADS = [b"first payload", MAGIC * 3, b"\0" * 40, b"the last one"]
WHOLE = b"".join(map(frame_bytes, PAYLOADS))
BORDERS = [sum(len(frame_bytes(one)) for one in PAYLOADS[:n]) for n in range(len(PAYLOADS) + 1)]


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_what_is_appended_is_read(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("frames") / "x.frames"
    descriptor, tail = open_for_append(path)
    assert tail is None
    for payload in payloads:
        append_frame(descriptor, payload)
    os.close(descriptor)
    assert read_frames(path) == (payloads, None)


def test_a_file_cut_anywhere_gives_the_frames_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    for size in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:size])
        whole = sum(border <= size for border in BORDERS) - 1
        end = BORDERS[whole]
        tail = TornTail(end, size - end) if size > end else None
        assert read_frames(path) == (PAYLOADS[:whole], tail)


def test_a_flipped_byte_is_an_error_or_leaves_a_correct_prefix(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    for position in range(len(WHOLE)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(WHOLE)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            hit = sum(border <= position for border in BORDERS) - 1
            if hit == len(PAYLOADS) - 1:
                payloads, tail = read_frames(path)
                assert payloads == PAYLOADS[:-1]
                assert tail == TornTail(BORDERS[hit], len(WHOLE) - BORDERS[hit])
                continue
            with pytest.raises(RecordError) as caught:
                read_frames(path)
            assert (caught.value.path, caught.value.offset) == (path, BORDERS[hit])
            assert str(path) in str(caught.value)
            assert f"byte {BORDERS[hit]}" in str(caught.value)
            assert read_frames(path, partial=True) == (PAYLOADS[:hit], None)


def test_zeros_behind_the_last_frame_are_a_torn_tail(tmp_path: Path) -> None:
    """Some file systems leave zeros where a power cut has lost what was written."""
    path = tmp_path / "x.frames"
    path.write_bytes(WHOLE + b"\0" * 5000)
    assert read_frames(path) == (PAYLOADS, TornTail(len(WHOLE), 5000))


def test_a_later_frame_is_found_across_the_windows_of_the_search(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    for gap in range(2**20 - 6, 2**20 + 2):
        path.write_bytes(frame_bytes(b"a") + b"x" * gap + frame_bytes(b"b"))
        with pytest.raises(RecordError) as caught:
            read_frames(path)
        assert caught.value.offset == HEADER_BYTES + 1


def test_a_file_made_to_be_searched_for_ever_is_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    header = frame_bytes(b"\1" * 2**20)[:HEADER_BYTES]
    path.write_bytes(b"?" + header * 200_000)
    begin = time.monotonic()
    with pytest.raises(RecordError):
        read_frames(path)
    assert time.monotonic() - begin < 5
    descriptor, tail = open_for_append(path)
    os.close(descriptor)
    assert tail is None
    assert path.stat().st_size == 1 + 200_000 * HEADER_BYTES


def test_a_second_writer_cuts_the_torn_tail_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    for size in range(BORDERS[1], BORDERS[2]):
        path.write_bytes(WHOLE[:size])
        descriptor, tail = open_for_append(path)
        cut = size - BORDERS[1]
        assert tail == (TornTail(BORDERS[1], cut) if cut else None)
        append_frame(descriptor, b"next")
        os.close(descriptor)
        assert read_frames(path) == ([PAYLOADS[0], b"next"], None)


def test_a_second_writer_never_cuts_good_frames_behind_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    damaged = bytearray(WHOLE)
    damaged[BORDERS[1] + HEADER_BYTES] ^= 1
    path.write_bytes(damaged + b"torn")
    descriptor, tail = open_for_append(path)
    os.close(descriptor)
    assert tail == TornTail(len(WHOLE), 4)
    assert path.read_bytes() == damaged


def test_a_reader_beside_a_writer_sees_a_correct_prefix(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    code = f"""
import time
from pathlib import Path
from greenai.record.frames import append_frame, open_for_append
descriptor, _ = open_for_append(Path({str(path)!r}))
number = 0
while True:
    append_frame(descriptor, number.to_bytes(8, "little") * (1 + number % 100))
    number += 1
    time.sleep(0.0002)
"""
    seen = 0
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code])
        give_up = time.monotonic() + 30  # the writer's start takes its time on a busy machine
        while not path.exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            payloads, _ = read_frames(path)
            assert_numbered(payloads)
            seen = max(seen, len(payloads))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        payloads, _ = read_frames(path)
        assert_numbered(payloads)
        path.unlink()
    assert seen > 0


def assert_numbered(payloads: list[bytes]) -> None:
    for number, payload in enumerate(payloads):
        assert payload == number.to_bytes(8, "little") * (1 + number % 100)


def test_a_write_that_the_disk_refuses_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.frames"
    descriptor, _ = open_for_append(path)
    append_frame(descriptor, b"before")
    write = os.write
    room = 7

    def refuse(to: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(to, bytes(data[: min(3, room)]))
        room -= taken
        return taken

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        append_frame(descriptor, b"does not fit")
    room = 10_000
    append_frame(descriptor, b"does fit, three bytes a write")
    os.close(descriptor)
    assert read_frames(path) == ([b"before", b"does fit, three bytes a write"], None)


@pytest.mark.parametrize("size", [0, PAYLOAD_BYTES_MAX + 1])
def test_a_payload_has_bounds(size: int) -> None:
    with pytest.raises(OrderError):
        frame_bytes(b"\0" * size)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    real, link, pipe = (tmp_path / name for name in ("real", "link", "pipe"))
    real.write_bytes(WHOLE)
    link.symlink_to(real)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(RecordError) as caught:
            read_frames(path)
        assert caught.value.path == path
    for path in (link, pipe):
        with pytest.raises(OSError):  # noqa: PT011 - the number differs from system to system
            open_for_append(path)
    assert real.read_bytes() == WHOLE


def test_one_frame_at_a_time_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    path.write_bytes(WHOLE)
    reader = FrameReader(path)
    offsets = [frame.offset for frame in reader]
    assert offsets == BORDERS[:-1]
    assert reader.size_bytes == len(WHOLE)
