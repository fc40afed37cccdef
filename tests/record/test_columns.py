"""Laws of the rows' bytes: bit for bit the same after reading, and small."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai.errors import OrderError, RecordError
from greenai.record.columns import (
    ROW_BYTES,
    MarkColumns,
    Readings,
    decode_marks,
    decode_readings,
    encode_marks,
    encode_readings,
)
from greenai.record.envelope import ROWS_MAX, close_envelope
from greenai.record.frames import HEADER_BYTES
from greenai.record.types import CHANGE, FIRST, GPU_TIME, STEP_END, STILL, VALUE, Anchor

if TYPE_CHECKING:
    from collections.abc import Callable

S = 10**9
ANCHOR = Anchor(100_000 * S, 1_790_000_000 * S, 100_005 * S)

times = st.integers(-(2**60), 2**60)
floats = st.one_of(
    st.floats(),
    st.integers(-(10**15), 10**15).map(lambda whole: whole / 1_000),
    st.integers(0, 10**12).map(lambda whole: whole / 1_000_000),
    st.sampled_from([-0.0, float("nan"), struct.unpack("<d", struct.pack("<Q", 2**63 + 1))[0]]),
)
anchors = st.builds(
    Anchor,
    *(st.integers(-most + 1, most - 1) for most in (2**61, 2**62, 2**61)),
)
reading_rows = st.lists(
    st.tuples(
        st.integers(0, 5) | st.just(65_535), times, st.integers(0, 2**60), floats, st.integers(0, 2)
    ).map(lambda row: (row[0], row[1], row[1] + row[2], row[3], row[4])),
    min_size=1,
    max_size=40,
)
mark_rows = st.lists(
    st.tuples(
        times, st.integers(1, 7), st.integers(0, 65_535), st.integers(-(2**63), 2**63 - 1), floats
    ),
    min_size=1,
    max_size=40,
)


def bits(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with floats as their bits, so that NaN and -0.0 are compared too."""
    return [
        tuple(struct.pack("<d", one) if isinstance(one, float) else one for one in row)
        for row in rows
    ]


def rows_of(columns: Readings | MarkColumns) -> list[tuple[Any, ...]]:
    order = (
        ("channel", "t_lo_ns", "t_hi_ns", "value", "kind")
        if isinstance(columns, Readings)
        else ("t_ns", "kind", "name", "index", "value")
    )
    return list(zip(*(getattr(columns, name).tolist() for name in order), strict=True))


@settings(max_examples=200, deadline=None)
@given(reading_rows, anchors)
def test_readings_survive_bit_for_bit(rows: list[Any], anchor: Anchor) -> None:
    columns, at = decode_readings(encode_readings(rows, anchor))
    assert at == anchor
    assert bits(rows_of(columns)) == bits(sorted(rows, key=lambda row: row[0]))


@settings(max_examples=200, deadline=None)
@given(mark_rows, anchors)
def test_marks_survive_bit_for_bit_and_in_order(rows: list[Any], anchor: Anchor) -> None:
    columns, at = decode_marks(encode_marks(rows, anchor))
    assert at == anchor
    assert bits(rows_of(columns)) == bits(rows)


def test_columns_may_be_given_instead_of_rows() -> None:
    columns, _ = decode_marks(
        encode_marks([(5, VALUE, 7, 1, 2.5), (6, STEP_END, 0, 1, 1.0)], ANCHOR)
    )
    assert rows_of(decode_marks(encode_marks(columns, ANCHOR))[0]) == rows_of(columns)
    readings, _ = decode_readings(encode_readings([(1, 5, 6, 2.5, FIRST)], ANCHOR))
    assert rows_of(decode_readings(encode_readings(readings, ANCHOR))[0]) == rows_of(readings)


@pytest.mark.parametrize(
    "row",
    [
        (-1, 0, 1, 0.0, CHANGE),
        (65_536, 0, 1, 0.0, CHANGE),
        (0, 2, 1, 0.0, CHANGE),
        (0, 0, 1, 0.0, STILL + 1),
        (0, 2**62 + 1, 2**62 + 2, 0.0, CHANGE),
    ],
)
def test_readings_that_cannot_be_are_refused_when_written(row: Any) -> None:
    with pytest.raises(OrderError):
        encode_readings([row], ANCHOR)


@pytest.mark.parametrize("row", [(0, 0, 0, 0, 0.0), (0, 8, 0, 0, 0.0), (0, 4, 65_536, 0, 0.0)])
def test_marks_that_cannot_be_are_refused_when_written(row: Any) -> None:
    with pytest.raises(OrderError):
        encode_marks([row], ANCHOR)


@pytest.mark.parametrize("encode", [encode_readings, encode_marks])
def test_a_frame_has_one_to_65536_rows(encode: Callable[..., bytes]) -> None:
    with pytest.raises(OrderError):
        encode([], ANCHOR)
    with pytest.raises(OrderError):
        encode([(1, 1, 1, 1, 1)] * (ROWS_MAX + 1), ANCHOR)
    assert len(encode([(1, 1, 1, 1, 1)] * ROWS_MAX, ANCHOR)) < 5000


def split(*columns: tuple[int, str]) -> bytes:
    """One row whose fields are given with their types."""
    return b"".join(np.array([value], type_).tobytes() for value, type_ in columns)


@pytest.mark.parametrize(
    ("code", "width", "t_hi"),
    [(3, 0, 0), (0x40, 0, 0), (0, -1, 0), (0, 2**62 + 1, 0), (0, 0, 2**62)],
)
def test_readings_that_cannot_be_are_refused_when_read(code: int, width: int, t_hi: int) -> None:
    row = split((0, "<u2"), (code, "u1"), (t_hi, "<i8"), (width, "<i8"), (0, "<i8"))
    with pytest.raises(RecordError):
        decode_readings(close_envelope("readings", row, ROW_BYTES, ANCHOR))


@pytest.mark.parametrize(("kind", "t"), [(0, 0), (8, 0), (3, 2**62), (3, -(2**62) - 2**60)])
def test_marks_that_cannot_be_are_refused_when_read(kind: int, t: int) -> None:
    row = split((kind, "u1"), (0, "<u2"), (t, "<i8"), (0, "<i8"), (0, "<i8"))
    with pytest.raises(RecordError):
        decode_marks(close_envelope("marks", row, ROW_BYTES, ANCHOR))


def test_marks_are_not_taken_for_readings() -> None:
    with pytest.raises(RecordError, match="readings"):
        decode_readings(encode_marks([(5, STEP_END, 0, 1, 1.0)], ANCHOR))


def steps(count: int, *, loss_bits: int, rng: random.Random) -> list[Any]:
    """Steps of 5 ms with 0.1 ms of jitter, four marks each, as the training leaves them."""
    t, rows = ANCHOR.monotonic_ns - S, []
    for index in range(1000, 1000 + count):
        t += int(rng.gauss(5e6, 1e5))
        loss = rng.gauss(2.0, 0.05)
        loss = loss if loss_bits == 64 else float(np.float32(loss))
        rows += [(t, VALUE, 7, index, 8192.0), (t, VALUE, 8, index, 16.0)]
        rows += [(t, VALUE, 11, index, loss), (t, STEP_END, 0, index, 1.0)]
    return rows


@pytest.mark.parametrize(("loss_bits", "budget_bytes"), [(32, 10), (64, 13)])
def test_a_step_takes_few_bytes(loss_bits: int, budget_bytes: float) -> None:
    """Measured: 9.3 bytes a step; 12.6 where the loss needs all 64 bits, most of them noise."""
    rng = random.Random(1)  # noqa: S311 - makes test data
    payload = encode_marks(steps(200, loss_bits=loss_bits, rng=rng), ANCHOR)
    assert (len(payload) + HEADER_BYTES) / 200 < budget_bytes


def test_the_time_of_the_gpu_takes_two_bytes_more() -> None:
    """Measured: 11.3 bytes a step. Its mark shares the time of the step that it was seen at."""
    rng = random.Random(1)  # noqa: S311 - makes test data
    rows = steps(200, loss_bits=32, rng=rng)
    gpu_ns, with_gpu = rows[0][0] + 2e6, []
    for row in rows:
        with_gpu.append(row)
        if row[1] == STEP_END:
            gpu_ns += rng.gauss(5e6, 3e4)
            late_us = float(round((gpu_ns - row[0]) / 1000))
            with_gpu.append((row[0], GPU_TIME, 0, row[3] - 1, late_us))
    payload = encode_marks(with_gpu, ANCHOR)
    assert (len(payload) + HEADER_BYTES) / 200 < 12


def second_of_eight_gpus(rng: random.Random) -> list[Any]:
    """Polled every 20 ms one after the other; each counter changes every 100 ms."""
    rows, t = [], ANCHOR.monotonic_ns - S
    phase = [rng.randrange(100_000_000) for _ in range(8)]
    energy_mj = [rng.randrange(10**9, 10**12) for _ in range(8)]
    before: list[Any] = [None] * 8
    for _ in range(50):
        for gpu in range(8):
            t0, t1 = t, t + int(rng.gauss(20e3, 3e3))
            update = (t0 - phase[gpu]) // 100_000_000
            if before[gpu] is None or before[gpu][1] != update:
                energy_mj[gpu] += int(rng.gauss(30_000, 3_000))
                low = t0 if before[gpu] is None else before[gpu][0]
                rows.append((gpu, low, t1, energy_mj[gpu] / 1000, CHANGE))
            before[gpu] = (t0, update)
            t = t1 + int(rng.gauss(5e3, 500))
        t += int(20e6 * rng.uniform(0.9, 1.1)) - 8 * 25_000
    rows += [
        (8 + gpu, t - S, t + gpu * 25_000, int(rng.gauss(300_000, 20_000)) / 1000, CHANGE)
        for gpu in range(8)
    ]
    return rows


def test_a_day_of_eight_gpus_takes_less_than_150_megabytes() -> None:
    """Measured: 117 MB, one frame a second, some 80 counter changes and 8 powers in each."""
    rng = random.Random(2)  # noqa: S311 - makes test data
    sizes = [len(encode_readings(second_of_eight_gpus(rng), ANCHOR)) for _ in range(20)]
    assert (sum(sizes) / 20 + HEADER_BYTES) * 86_400 < 130e6
