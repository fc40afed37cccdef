"""Sends figures to Prometheus by remote-write, from jobs that cannot be scraped."""

from __future__ import annotations

import collections
import math
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from greenai.exporters.delivery import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry

    from greenai.exporters.delivery import Receiver

    Labels = tuple[tuple[str, str], ...]

JOB = "greenai"
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "greenai",
}
KEPT_MAX = 240
"""Requests kept while the receiver is down, an hour at 15 s; the oldest goes first."""
KEPT_BYTES_MAX = 4 << 20
WAIT_S = (1.0, 60.0)
"""First and longest wait before a receiver that is down is tried again."""
SENDING_S = 10.0
"""Longest that one delivery catches up; the next sample is due."""
(STALE,) = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))
"""The NaN that ends a series: queries show nothing after it, and ``rate`` no jump."""


class RemoteWriter:
    """Samples a registry and sends it, the oldest sample first, keeping a bounded number.

    Args:
        receiver: Where to.
        registry: Whose families are sent, labelled with ``job`` and ``instance`` as a scrape
            would.
        clock_ms: Unix time in milliseconds.
        timer_s: What waits are measured with.

    Attributes:
        lost: Requests given up: the receiver was down for too long, or refused them.
    """

    def __init__(
        self,
        receiver: Receiver,
        registry: CollectorRegistry,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        timer_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0
        self._receiver = receiver
        self._registry = registry
        self._clock_ms = clock_ms
        self._timer_s = timer_s
        self._target = (("instance", socket.gethostname()), ("job", JOB))
        self._kept: collections.deque[bytes] = collections.deque()
        self._alive: set[Labels] = set()
        self._latest_ms = 0
        self._wait_s = WAIT_S[0]
        self._again_s = -math.inf
        self._failure = ""
        self._ended = False

    def deliver(self, *, final: bool = False) -> None:
        """Take a sample and send what is kept; at the end, also end every series.

        Args:
            final: Whether it is the last sample; a further call only sends.

        Raises:
            UndeliveredError: Something is kept for later (``again``) or was refused for good.
        """
        if not self._ended:
            self._ended = final
            self._keep(self._sample(final=final))
        now_s = self._timer_s()
        if now_s < self._again_s:
            raise UndeliveredError(self._failure, again=True, wait_s=self._again_s - now_s)
        refused: UndeliveredError | None = None
        while self._kept and self._timer_s() < now_s + SENDING_S:
            try:
                self._receiver.send("POST", self._receiver.url, self._kept[0], HEADERS)
            except UndeliveredError as error:
                if error.again:
                    self._failure = error.reason
                    error.wait_s = self._back_off(error.wait_s)
                    raise
                refused = error
                self.lost += 1
            self._kept.popleft()
            self._wait_s = WAIT_S[0]
        if refused is not None:
            raise refused

    def _back_off(self, asked_s: float) -> float:
        wait_s = max(asked_s, self._wait_s)
        self._again_s = self._timer_s() + wait_s
        self._wait_s = min(2 * self._wait_s, WAIT_S[1])
        return wait_s

    def _keep(self, request: bytes) -> None:
        self._kept.append(request)
        while len(self._kept) > KEPT_MAX or sum(map(len, self._kept)) > KEPT_BYTES_MAX:
            self._kept.popleft()
            self.lost += 1

    def _sample(self, *, final: bool) -> bytes:
        """One request with every series now; those that have gone end here."""
        now_ms = self._latest_ms = max(self._clock_ms(), self._latest_ms + 1)
        series = {
            self._labels(sample.name, sample.labels.items()): [(float(sample.value), now_ms)]
            for family in self._registry.collect()
            for sample in family.samples
        }
        alive = set(series)
        for gone in self._alive - alive:
            series[gone] = [(STALE, now_ms)]
        if final:
            self._latest_ms = now_ms + 1
            for labels in alive:
                series[labels].append((STALE, now_ms + 1))
        self._alive = alive
        return write_request(series)

    def _labels(self, name: str, labels: Iterable[tuple[str, str]]) -> Labels:
        """Sorted by name, as the protocol asks for; an empty label is none."""
        present = ((key, value) for key, value in labels if value)
        return tuple(sorted((("__name__", name), *present, *self._target)))


def write_request(series: dict[Labels, list[tuple[float, int]]]) -> bytes:
    """Encode series as a WriteRequest of remote-write 1.0, compressed by snappy.

    Args:
        series: Values and Unix milliseconds by sorted labels.

    Returns:
        The request's body.

    Example:
        >>> body = write_request({(("__name__", "up"),): [(1.0, 1_700_000_000_000)]})
        >>> decoded_request(body)
        {(('__name__', 'up'),): [(1.0, 1700000000000)]}
    """
    request = _WRITE_REQUEST()
    for labels, samples in series.items():
        one = request.timeseries.add()
        for name, value in labels:
            one.labels.add(name=name, value=value)
        for number, unix_ms in samples:
            one.samples.add(value=number, timestamp=unix_ms)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decoded_request(body: bytes) -> dict[Labels, list[tuple[float, int]]]:
    """Decode what ``write_request`` encoded."""
    request = _WRITE_REQUEST.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    return {
        tuple((label.name, label.value) for label in one.labels): [
            (sample.value, sample.timestamp) for sample in one.samples
        ]
        for one in request.timeseries
    }


def _message_class() -> Any:
    """Build the protocol's messages from their field numbers; nothing is generated beforehand.

    Source: Prometheus Remote-Write 1.0 specification, section Protocol.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="greenai_remote_write.proto", package="prometheus", syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in {
        "Label": [("name", 1, kinds.TYPE_STRING), ("value", 2, kinds.TYPE_STRING)],
        "Sample": [("value", 1, kinds.TYPE_DOUBLE), ("timestamp", 2, kinds.TYPE_INT64)],
        "TimeSeries": [("labels", 1, "Label"), ("samples", 2, "Sample")],
        "WriteRequest": [("timeseries", 1, "TimeSeries")],
    }.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            if isinstance(kind, str):
                described.field.add(
                    name=name, number=number, type=kinds.TYPE_MESSAGE,
                    type_name=f".prometheus.{kind}", label=kinds.LABEL_REPEATED,
                )  # fmt: skip
            else:
                described.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("prometheus.WriteRequest")
    return message_factory.GetMessageClass(found)


_WRITE_REQUEST = _message_class()
