"""The envelope of a frame: one self-contained, compressed Arrow IPC stream, opened with care.

A stream holds one record batch with one column ``rows`` of fixed-size binary values, and in the
schema's metadata the word for what the rows are and the clock anchor. One column, because Arrow
takes about 110 bytes a column and batch: with a column a field, a second of eight GPUs takes 1740
bytes instead of 1380, and the marks of a 5-ms step 11.8 instead of 9.3 (measured).

Arrow allocates what a compressed buffer announces before it decompresses it, so a kilobyte may ask
for terabytes. The few numbers that decide this are therefore read from the batch's header here,
and compared with what the rows must take, before Arrow is given the batch.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from greenai.errors import RecordError
from greenai.record.types import Anchor

ROWS_MAX = 65_536
"""In one frame; more are spread over several."""

_COLUMN = "rows"
_KEY = b"greenai"
_META = re.compile(rb"([a-z]{1,16}) (-?\d{1,19}) (-?\d{1,19}) (-?\d{1,19})")
_CLOCKS_MAX_NS = (2**61, 2**62, 2**61)
"""Monotonic, UTC (the year 2116) and boottime: within these no sum of clocks overflows."""
_HEADER_BYTES_MAX = 4096
_LEVEL = 9
"""Of zstd: closing a second of eight GPUs takes 52 µs, 18 more than with level 3, for 3 % less
space (measured)."""
_NOT_COMPRESSED = -1
_RECORD_BATCH = 3


class Opened(NamedTuple):
    """What an envelope holds.

    Attributes:
        rows: The rows' bytes, one row of the array a row. Shape (n, width), uint8.
        anchor: The moment at which it was closed.
    """

    rows: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    anchor: Anchor


class _Batch(NamedTuple):
    """What a record batch announces: rows, and (offset, size) of its buffers in the body."""

    rows: int
    buffers: list[tuple[int, int]]


def close_envelope(content: str, data: bytes, width: int, anchor: Anchor) -> bytes:
    """Put the bytes of n rows into an envelope.

    Args:
        content: What the rows are: ``readings`` or ``marks``.
        data: n times ``width`` bytes.
        width: Bytes of a row.
        anchor: Clocks of this moment.

    Returns:
        An Arrow IPC stream.
    """
    rows = len(data) // width
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(data)])
    clocks = f"{anchor.monotonic_ns} {anchor.utc_ns} {anchor.boottime_ns}"
    schema = pa.schema(
        [pa.field(_COLUMN, pa.binary(width), nullable=False)],
        metadata={_KEY: f"{content} {clocks}"},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_write_options()) as stream:
        stream.write_batch(pa.record_batch([array], schema=schema))
    closed: bytes = sink.getvalue().to_pybytes()
    return closed


def open_envelope(content: str, payload: bytes, width: int) -> Opened:
    """Take the rows out of an envelope, trusting nothing.

    Args:
        content: What the rows must be.
        payload: An Arrow IPC stream from a frame.
        width: Bytes that a row must have.

    Returns:
        The bytes of the rows and the anchor. No more than 65,536 rows are ever allocated.

    Raises:
        RecordError: It is no such stream, announces more than its rows can take, or holds
            anything else: another column, a dictionary, an extension type, a second batch.
    """
    try:
        return _opened(content, payload, width)
    except (pa.ArrowException, struct.error, OSError, IndexError, StopIteration) as error:
        raise _refused("it is no Arrow stream of this format") from error


def _opened(content: str, payload: bytes, width: int) -> Opened:
    source = pa.BufferReader(payload)
    messages = pa.ipc.MessageReader.open_stream(source)
    head, batch = messages.read_next_message(), messages.read_next_message()
    if source.read(9) not in {b"\xff\xff\xff\xff\0\0\0\0", b""}:
        raise _refused("it holds more than one batch")
    if head.type != "schema" or batch.type != "record batch":
        raise _refused(f"it holds a {head.type} and a {batch.type}")
    for message in (head, batch):
        if message.metadata.size > _HEADER_BYTES_MAX:
            raise _refused(f"a header has {message.metadata.size} bytes")
    if b"ARROW:extension" in head.metadata.to_pybytes():
        raise _refused("it holds an extension type")
    schema = pa.ipc.read_schema(head)
    if schema.remove_metadata() != _schema(width):
        raise _refused("its columns are others")
    anchor = _anchor(content, (schema.metadata or {}).get(_KEY, b""))
    rows = _announced_rows(batch, width)
    stream = pa.ipc.open_stream(payload, options=_read_options())
    column = stream.read_next_batch().column(0)
    column.validate(full=True)
    if len(column) != rows or column.null_count or column.offset:
        raise _refused("its rows are not those announced")
    data = np.frombuffer(column.buffers()[1], np.uint8, rows * width)
    return Opened(data.reshape(rows, width), anchor)


def _announced_rows(message: Any, width: int) -> int:
    """Check what the batch would make Arrow allocate; return its number of rows."""
    header = message.metadata.to_pybytes()
    batch = _batch(header)
    if not 0 < batch.rows <= ROWS_MAX:
        raise _refused(f"it announces {batch.rows} rows")
    size = message.body.size
    if len(batch.buffers) != 2 or batch.buffers[0][1] != 0:  # noqa: PLR2004 - validity and data
        raise _refused("its buffers are others")
    offset, length = batch.buffers[1]
    if offset < 0 or length < 8 or offset + length > size:  # noqa: PLR2004 - its size comes first
        raise _refused("a buffer lies outside of it")
    taken = length
    if _find(header, _record_batch(header), 3) is not None:  # compressed: its size comes first
        (unpacked,) = struct.unpack_from("<q", message.body, offset)
        taken = length - 8 if unpacked == _NOT_COMPRESSED else unpacked
    if taken != batch.rows * width:
        raise _refused("its size is not that of its rows")
    return batch.rows


def _batch(header: bytes) -> _Batch:
    """Rows and buffers of a record batch from its FlatBuffers header (Arrow's Message.fbs)."""
    table = _record_batch(header)
    (rows,) = struct.unpack_from("<q", header, _field(header, table, 0))
    vector = _follow(header, _field(header, table, 2))
    (count,) = struct.unpack_from("<I", header, vector)
    if count > 8:  # noqa: PLR2004 - one column has two
        raise _refused(f"it has {count} buffers")
    buffers = [struct.unpack_from("<qq", header, vector + 4 + 16 * n) for n in range(count)]
    return _Batch(rows, [(int(offset), int(length)) for offset, length in buffers])


def _record_batch(header: bytes) -> int:
    """Position of the RecordBatch table in a Message."""
    message = _follow(header, 0)
    if header[_field(header, message, 1)] != _RECORD_BATCH:
        raise _refused("it holds no record batch")
    return _follow(header, _field(header, message, 2))


def _field(header: bytes, table: int, number: int) -> int:
    """Position of a field that a table must have."""
    position = _find(header, table, number)
    if position is None:
        raise _refused("its header lacks a field")
    return position


def _find(header: bytes, table: int, number: int) -> int | None:
    """Position of a table's field; None where it is absent."""
    (back,) = struct.unpack_from("<i", header, table)
    layout = table - back
    if layout < 0:
        raise _refused("its header is damaged")
    (layout_bytes,) = struct.unpack_from("<H", header, layout)
    entry = 4 + 2 * number
    if entry + 2 > layout_bytes:
        return None
    (distance,) = struct.unpack_from("<H", header, layout + entry)
    return table + int(distance) if distance else None


def _follow(header: bytes, position: int) -> int:
    """Position that an offset at ``position`` points to."""
    (distance,) = struct.unpack_from("<I", header, position)
    return position + int(distance)


def _anchor(content: str, meta: bytes) -> Anchor:
    parts = _META.fullmatch(meta)
    if parts is None or parts[1].decode() != content:
        raise _refused(f"it does not hold {content}")
    clocks = [int(part) for part in parts.groups()[1:]]
    if any(abs(clock) >= most for clock, most in zip(clocks, _CLOCKS_MAX_NS, strict=True)):
        raise _refused("its clock anchor is out of range")
    return Anchor(*clocks)


@cache
def _schema(width: int) -> Any:
    return pa.schema([pa.field(_COLUMN, pa.binary(width), nullable=False)])


@cache
def _write_options() -> Any:
    """Compress with the best codec that this Arrow was built with."""
    codec: Any = None
    if _has_codec("zstd"):
        codec = pa.Codec("zstd", compression_level=_LEVEL)
    elif _has_codec("lz4"):
        codec = "lz4"
    # Arrow's threads cost more than they save at this size: 159 µs against 52 (measured).
    return pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)


@cache
def _read_options() -> Any:
    """Decompress in this thread: 73 µs against 18 (measured)."""
    return pa.ipc.IpcReadOptions(use_threads=False)


def _has_codec(name: str) -> bool:
    return bool(pa.Codec.is_available(name))


def _refused(reason: str) -> RecordError:
    return RecordError(
        f"A frame is not as greenai writes it: {reason}.",
        "Its CRC fits, so it was written like this; nothing is taken from it.",
        "it may come from a later version of greenai, or not from greenai at all",
    )
