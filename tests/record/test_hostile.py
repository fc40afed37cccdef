"""Laws of a record from elsewhere: whatever is in it, it is refused or read, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import greenai
from greenai.errors import GreenAIError, OrderError, RecordError
from greenai.record import attempts
from greenai.record.columns import (
    decode_marks,
    decode_readings,
    encode_marks,
    encode_readings,
)
from greenai.record.documents import OBJECT_BYTES_MAX, parse_object, read_json
from greenai.record.frames import FrameReader, frame_bytes
from greenai.record.reader import open_record
from greenai.record.types import Anchor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORDED = Path(__file__).parents[1] / "fixtures" / "record-v1"
ATTEMPT = next((RECORDED / "rank-0").iterdir()).relative_to(RECORDED).as_posix()
FRAMES = {
    f"{ATTEMPT}/marks.frames": (decode_marks, encode_marks),
    f"{ATTEMPT}/readings.frames": (decode_readings, encode_readings),
}
DOCUMENTS = ("manifest.json", f"{ATTEMPT}/manifest.json", f"{ATTEMPT}/events.jsonl")
FILES = (*DOCUMENTS, *FRAMES, f"{ATTEMPT}/live.json", "launches/run_id.txt")
WORDS = ("gap", "suspended", "read_failed", "stopped", "parent_died", "resumed_from", "marks_lost")

ODD = st.sampled_from(
    [
        None, True, 0, -1, 2**31, 2**63, -(2**63), 10**30, 10**400, 1.5, 1e308, -1e308, 5e-324, "",
        "x", "\0", "../../etc/passwd", "/etc/passwd", "9999-12-31T23:59:59-23:59", "9" * 300,
        [], {}, [[]], {"value": 10**400}, {"value": -1}, {"value": "x"}, ["a", {}],
    ]
)  # fmt: skip
ODD_CLOCKS = st.sampled_from([0, -1, 1, 2**62, -(2**62), 2**63 - 1, -(2**63) + 1])
BOUNDED = settings(
    derandomize=True,
    deadline=None,
    max_examples=70,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from places_in(one, (*path, key))


def changed_document(data: st.DataObject, content: bytes, name: str) -> bytes:
    """A document with some values replaced, left out or repeated."""
    lines = [json.loads(line) for line in content.splitlines()] if name.endswith("l") else None
    plain: Any = copy.deepcopy(lines) if lines is not None else json.loads(content)
    if lines:
        event = {**lines[-1], "what": data.draw(st.sampled_from(WORDS)), "device": "gpu0"}
        plain.append({**event, "from_ns": 1, "to_ns": 2, "step": 3, "run_id": "x"})
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(list(places_in(plain)) or [(0,)]))
        with contextlib.suppress(IndexError, KeyError):  # an empty document has no place
            inner = plain
            for key in path:
                inner = inner[key]
            if data.draw(st.integers(0, 5)):
                inner[last] = data.draw(ODD)
            else:
                del inner[last]
    if lines is not None:
        return b"".join(f"{json.dumps(one)}\n".encode() for one in plain)
    return json.dumps(plain).encode()


def changed_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Bytes flipped, cut, left out, doubled, or put in."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        count = data.draw(st.sampled_from([1, 4, 12, 100, 3000]))
        match data.draw(st.sampled_from(["flip", "cut", "drop", "double", "put"])):
            case "flip" if changed:
                changed[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del changed[at:]
            case "drop":
                del changed[at : at + count]
            case "double":
                changed[at:at] = changed[at : at + count]
            case _:
                changed[at:at] = data.draw(st.binary(max_size=20))
    return bytes(changed)


def changed_frames(data: st.DataObject, path: Path, name: str) -> bytes:
    """Frames with a good CRC whose rows or clocks are what no sampler writes."""
    decode, encode = FRAMES[name]
    frames = []
    for frame in FrameReader(path):
        payload = frame.payload
        if data.draw(st.booleans()):
            columns, anchor = decode(payload)
            fields = {one.name: getattr(columns, one.name) for one in dataclasses.fields(columns)}
            column = fields[data.draw(st.sampled_from(sorted(fields)))]
            column[data.draw(st.integers(0, len(column) - 1))] = odd_number(data, column.dtype)
            clocks = dataclasses.astuple(anchor)
            if not data.draw(st.integers(0, 2)):
                clocks = tuple(data.draw(st.one_of(st.just(one), ODD_CLOCKS)) for one in clocks)
            with contextlib.suppress(OrderError):
                payload = encode(type(columns)(**fields), Anchor(*clocks))  # type: ignore[operator] # each with its own columns
        frames.append(frame_bytes(payload))
    return b"".join(data.draw(st.permutations(frames)) if data.draw(st.booleans()) else frames)


def odd_number(data: st.DataObject, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0, 5e-324]))
    limits = np.iinfo(dtype)
    near = [2**62, -(2**62), 0, 1, 5, 7, limits.min, limits.max]
    return data.draw(st.sampled_from([one for one in near if limits.min <= one <= limits.max]))


def read_everything(folder: Path, *, partial: bool) -> None:
    run = greenai.load(folder, partial=partial)
    json.dumps(run.summary(), allow_nan=False)
    run.steps(), run.phases(), run.power(), run.figures()


@BOUNDED
@given(st.data())
def test_whatever_is_in_a_record_it_is_read_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(RECORDED, Path(temporary, "run")))
        for name in data.draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2)):
            path = folder / name
            how = data.draw(st.sampled_from(["bytes", "content", "content"]))
            with contextlib.suppress(ValueError, RecordError, AttributeError, TypeError):
                if how == "content" and name in DOCUMENTS:
                    path.write_bytes(changed_document(data, path.read_bytes(), name))
                elif how == "content" and name in FRAMES:
                    path.write_bytes(changed_frames(data, path, name))
                else:
                    path.write_bytes(changed_bytes(data, path.read_bytes()))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of numbers that overflow: they become unknown
            for partial in (False, True):
                with contextlib.suppress(GreenAIError):
                    read_everything(folder, partial=partial)


@BOUNDED
@given(st.data())
def test_changed_bytes_never_make_a_row_up(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FRAMES)))
    whole = (RECORDED / name).read_bytes()
    known = {frame.payload for frame in FrameReader(RECORDED / name)}
    with tempfile.NamedTemporaryFile() as file:
        file.write(changed_bytes(data, whole))
        file.flush()
        for partial in (False, True):
            with contextlib.suppress(RecordError):
                found = [one.payload for one in FrameReader(Path(file.name), partial=partial)]
                assert known.issuperset(found)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{" * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"b": [{"a": 1, "a": 1}]}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        b'{"a": 1}' + b" " * OBJECT_BYTES_MAX,
    ],
    ids=range(19),
)
def test_a_document_that_could_do_harm_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    path.write_bytes(content)
    with pytest.raises(RecordError):
        read_json(path)
    if len(content) <= OBJECT_BYTES_MAX:
        with pytest.raises(RecordError):
            parse_object(content, path)


def test_a_small_file_that_unpacks_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    marks = run / ATTEMPT / "marks.frames"
    rows = [(1, 4, 0, 0, 0.0)] * 65_536  # all alike: a few bytes
    payload = frame_bytes(encode_marks(rows, Anchor(1, 2, 3)))
    with marks.open("ab") as file:
        file.writelines([payload] * 3)
    monkeypatch.setattr(attempts, "ROWS_FREE", 130_000)
    with pytest.raises(RecordError, match="more than 130000 rows"):
        open_record(run)


@pytest.mark.parametrize("clocks", [(2**61, 0, 0), (0, 2**62, 0), (0, -(2**62), 0), (0, 0, 2**61)])
def test_clocks_whose_sums_would_overflow_are_refused(clocks: tuple[int, int, int]) -> None:
    with pytest.raises(RecordError, match="clock anchor"):
        decode_marks(encode_marks([(1, 3, 0, 0, 0.0)], Anchor(*clocks)))


@pytest.mark.parametrize("name", ["power_max_w", "wrap_j"])
def test_a_channels_numbers_fit_a_float(name: str, tmp_path: Path) -> None:
    run = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    path = run / ATTEMPT / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["channels"][0][name] = 10**400
    path.write_text(json.dumps(manifest))
    with pytest.raises(RecordError, match="channel 0"):
        open_record(run)


@pytest.mark.parametrize("value", [10**400, -1, True, "1", None, [1]])
def test_what_codecarbon_is_said_to_have_found_is_a_number_or_nothing(
    value: Any, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    found = dict.fromkeys(("energy_kwh", "cpu_kwh", "gpu_kwh", "ram_kwh", "start_ns"), 1)
    for name in (*found, "end_ns"):
        plain = {**found, "end_ns": 2, name: value}
        (run / ATTEMPT / "codecarbon_check.json").write_text(json.dumps(plain))
        assert greenai.load(run).summary()["codecarbon_check"] is None


def test_events_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    monkeypatch.setattr(attempts, "EVENTS_MAX", 100)
    with (run / ATTEMPT / "events.jsonl").open("a") as file:
        file.writelines(['{"t_ns": 1, "what": "x"}\n'] * 100)
    with pytest.raises(RecordError, match="more than 100 lines"):
        open_record(run)


def test_no_file_of_ours_is_written_through_a_link(
    tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    from greenai.record.writer import RecordWriter  # noqa: PLC0415 - of this test alone
    from greenai.sensors import codecarbon_check  # noqa: PLC0415 - the same

    secret = tmp_path / "secret"
    secret.write_text("hush")
    run = make_run()
    attempt = next(run.glob("rank-0/*"))
    derived = ["steps.csv", "phases.csv", "steps.parquet", "summary.json", "report.html"]
    for name in derived:
        (run / name).symlink_to(secret)
    greenai.api.write_derived(run)
    assert not any((run / name).is_symlink() for name in derived)
    for name in ("marks.frames", "readings.frames", "events.jsonl", "manifest.json", "live.json"):
        (attempt / name).unlink()
        (attempt / name).symlink_to(secret)
    writer = RecordWriter.__new__(RecordWriter)  # as one that began before the links were laid
    writer.__dict__.update(folder=attempt, _descriptors={}, _cuts=[], _continued=False)
    for write in (
        lambda: writer.write_marks([(1, 3, 0, 0, 0.0)], Anchor(1, 2, 3)),
        lambda: writer.write_readings([(0, 1, 2, 3.0, 0)], Anchor(1, 2, 3)),
        lambda: writer.write_event(1, "x", ""),
        lambda: writer.write_manifest({}),
        lambda: writer.write_live({}),
    ):
        with contextlib.suppress(OSError):
            write()
    for name in (".codecarbon_check.json.part", "codecarbon_check.json"):
        (attempt / name).symlink_to(secret)
    found = type("Found", (), dict.fromkeys(
        ("energy_consumed", "cpu_energy", "gpu_energy", "ram_energy"), 1.0
    ))()  # fmt: skip
    with contextlib.suppress(ImportError):  # CodeCarbon is an extra
        codecarbon_check.write(attempt, found, 1, 2)
    assert secret.read_text() == "hush"


def test_a_link_in_the_place_of_launches_is_not_followed_when_a_run_goes_on(
    tmp_path: Path, make_run: Callable[..., Path], make_launch: Callable[..., Any]
) -> None:
    from greenai.record.claim import RESUME_ASKED, claim_run  # noqa: PLC0415 - of this test alone

    run = make_run()
    outside = tmp_path / "outside"
    (run / "launches").rename(outside)
    before = sorted(outside.iterdir())
    (run / "launches").symlink_to(outside)
    with pytest.raises(RecordError, match="is a link"):
        claim_run(run, "r1", make_launch("second"), evidence=RESUME_ASKED)
    assert sorted(outside.iterdir()) == before
