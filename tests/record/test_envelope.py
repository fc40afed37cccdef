"""Laws of opening an envelope: nothing is trusted, nothing large is allocated."""

from __future__ import annotations

import random
import struct
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from greenai.errors import RecordError
from greenai.record import envelope
from greenai.record.envelope import close_envelope, open_envelope
from greenai.record.types import Anchor

ANCHOR = Anchor(1, 2, 3)
WIDTH = 27
DATA = bytes(range(27)) * 40
GOOD = close_envelope("marks", DATA, WIDTH, ANCHOR)
META = {"greenai": "marks 1 2 3"}


def stream(arrays: list[Any], names: list[str], *, meta: Any = META, batches: int = 1) -> bytes:
    schema = pa.schema(
        [
            pa.field(name, array.type, nullable=False)
            for name, array in zip(names, arrays, strict=True)
        ],
        metadata=meta,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
        for _ in range(batches):
            out.write_batch(pa.record_batch(arrays, schema=schema))
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


def rows(count: int = 40, width: int = WIDTH) -> Any:
    return pa.array([bytes(width)] * count, pa.binary(width))


def test_what_is_closed_is_opened() -> None:
    opened = open_envelope("marks", GOOD, WIDTH)
    assert opened.rows.tobytes() == DATA
    assert opened.anchor == ANCHOR


@pytest.mark.parametrize("codec", ["zstd", "lz4", None])
def test_every_codec_is_read(codec: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this Arrow has no zstd, lz4 is written, or nothing is compressed."""
    monkeypatch.setattr(envelope, "_has_codec", lambda name: name == codec)
    envelope._write_options.cache_clear()
    try:
        closed = close_envelope("marks", DATA, WIDTH, ANCHOR)
    finally:
        envelope._write_options.cache_clear()
    assert open_envelope("marks", closed, WIDTH).rows.tobytes() == DATA
    assert (len(closed) > len(DATA)) == (codec is None)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no arrow",
        GOOD[:-200],
        GOOD + b"more",
        stream([rows()], ["other"]),
        stream([rows(width=26)], ["rows"]),
        stream([rows(), rows()], ["rows", "more"]),
        stream([pa.array([1, 2])], ["rows"]),
        stream([rows()], ["rows"], batches=2),
        stream([rows()], ["rows"], batches=0),
        stream([rows(0)], ["rows"]),
        stream([rows(65_537)], ["rows"]),
        stream([pa.array([None] * 4, pa.binary(WIDTH))], ["rows"]),
        stream([rows().dictionary_encode()], ["rows"]),
        stream([rows()], ["rows"], meta=None),
        stream([rows()], ["rows"], meta={"greenai": "marks 1 2"}),
        stream([rows()], ["rows"], meta={"greenai": "marks 1 2 9999999999999999999"}),
        stream([rows()], ["rows"], meta={"greenai": "readings 1 2 3"}),
        stream([rows()], ["rows"], meta={**META, "more": "x" * 100_000}),
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(RecordError):
        open_envelope("marks", payload, WIDTH)


def test_an_extension_type_is_refused_before_it_is_looked_up() -> None:
    fixed = pa.array([bytes(16)] * 4, pa.binary(16))
    payload = stream([pa.ExtensionArray.from_storage(pa.uuid(), fixed)], ["rows"])
    with pytest.raises(RecordError, match="extension"):
        open_envelope("marks", payload, 16)


def test_a_small_frame_cannot_ask_for_much_memory() -> None:
    """The announced size of the compressed buffer is changed to a terabyte, and to a byte less."""
    body = GOOD.rindex(b"\x28\xb5\x2f\xfd") - 8
    assert struct.unpack_from("<q", GOOD, body) == (len(DATA),)
    for announced in (2**40, 2**30, len(DATA) - 1, len(DATA) + 1, 0, -2, -(2**63)):
        payload = bytearray(GOOD)
        struct.pack_into("<q", payload, body, announced)
        before = pa.total_allocated_bytes()
        with pytest.raises(RecordError):
            open_envelope("marks", bytes(payload), WIDTH)
        assert pa.total_allocated_bytes() - before < 2**20


def test_rows_beyond_the_bound_are_refused_before_they_are_unpacked() -> None:
    payload = stream(
        [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(WIDTH), 10_000_000, [None, pa.py_buffer(np.zeros(270_000_000, np.uint8))]
            )
        ],
        ["rows"],
    )
    assert len(payload) < 100_000
    pa.default_memory_pool().release_unused()
    tracemalloc.start()
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(RecordError, match="10000000 rows"):
        open_envelope("marks", payload, WIDTH)
    assert pa.default_memory_pool().bytes_allocated() - before < 2**20
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_changed_bytes_are_refused_or_keep_the_shape() -> None:
    """The CRC fits in such a file, because someone has made it so; then nothing must break."""
    rng = random.Random(4)  # noqa: S311 - makes test data
    for _ in range(4000):
        payload = bytearray(GOOD)
        for _ in range(rng.choice((1, 1, 2, 8))):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        try:
            opened = open_envelope("marks", bytes(payload), WIDTH)
        except RecordError:
            continue
        assert opened.rows.shape[1] == WIDTH
        assert opened.rows.shape[0] <= 65_536
