"""Laws of what is sent: what becomes of it where the receiver is down, busy, refusing or back."""

from __future__ import annotations

import itertools
import struct
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from simulation.receiver import Receiver as Stand

from greenai.exporters.delivery import Receiver, UndeliveredError
from greenai.exporters.discovery import remove_targets, write_targets
from greenai.exporters.figures import DeviceFigures, Figures, StepHistogram
from greenai.exporters.prometheus import registry_of
from greenai.exporters.pushgateway import groups, push_totals
from greenai.exporters.textfile import write_textfile
from greenai.metrics import COMMON_LABELS, FAMILIES

remote_write = pytest.importorskip(
    "greenai.exporters.remote_write", reason='remote-write needs "greenai[push]"'
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKEN = 204
SECRET = "Bearer hunter2"  # noqa: S105 - opens nothing


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


def receiver(stand: Stand) -> Receiver:
    return Receiver("remote-write", stand.url + "/write", SECRET)


class Job:
    """Figures that a test changes, under a clock that it moves."""

    def __init__(self, stand: Stand) -> None:
        self.now_s = 1_700_000_000.0
        self.figures = Figures(run_id="a", attempt=0, tokens=1.0)
        self.writer = remote_write.RemoteWriter(
            receiver(stand),
            registry_of(lambda: self.figures),
            clock_ms=lambda: int(self.now_s * 1000),
            timer_s=lambda: self.now_s,
        )

    def deliver(self, seconds: float = 15.0, *, final: bool = False) -> str:
        self.now_s += seconds
        try:
            self.writer.deliver(final=final)
        except UndeliveredError as error:
            return f"{error.reason} again={error.again}"
        return ""


def tokens(stand: Stand) -> list[tuple[float, int]]:
    """Samples of the token counter that were taken, in order, in seconds since the start."""
    found = []
    for request in stand.received:
        if request.status != TAKEN:
            continue
        for labels, samples in remote_write.decoded_request(request.body).items():
            if dict(labels)["__name__"] == "greenai_tokens_total":
                found += [(value, ms - 1_700_000_000_000) for value, ms in samples]
    return found


def is_stale(value: float) -> bool:
    return struct.pack("<d", value) == struct.pack("<Q", 0x7FF0000000000002)


def test_a_request_has_the_protocols_headers_and_sorted_labels(stand: Stand) -> None:
    job = Job(stand)
    assert job.deliver() == ""
    (request,) = stand.received
    assert request.headers["Content-Encoding"] == "snappy"
    assert request.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert request.headers["Authorization"] == SECRET
    for labels in remote_write.decoded_request(request.body):
        assert list(labels) == sorted(labels)
        assert {"__name__", "job", "instance", *COMMON_LABELS} <= set(dict(labels))
        assert all(value for _, value in labels)


def test_a_receiver_that_is_down_gets_all_of_it_later_in_order(stand: Stand) -> None:
    job = Job(stand)
    stand.answers = [503, 503]
    said = [job.deliver(1.0) for _ in range(5)]
    failed = "remote-write answers 503: why ! again=True"
    assert said == [failed, failed, failed, "", ""]  # the third was not tried: it waits 2 s
    assert [request.status for request in stand.received] == [503, 503, *[204] * 5]
    assert [ms for _, ms in tokens(stand)] == [1000, 2000, 3000, 4000, 5000]
    assert job.writer.lost == 0


def test_waits_grow_to_a_minute_and_are_as_long_as_asked(stand: Stand) -> None:
    job = Job(stand)
    stand.answers = [503] * 100
    asked_s = []
    for _ in range(600):
        before = len(stand.received)
        job.deliver(1.0)
        if len(stand.received) > before:
            asked_s.append(job.now_s)
    waits = [later - one for one, later in itertools.pairwise(asked_s)]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(60, abs=1)
    stand.headers = {"Retry-After": "200"}
    stand.answers = [429] * 100
    job.deliver(61.0)
    before = len(stand.received)
    for _ in range(199):
        job.deliver(1.0)
    assert len(stand.received) == before


def test_memory_is_bounded_and_the_latest_is_kept(stand: Stand) -> None:
    job = Job(stand)
    stand.answers = [503] * 10_000
    for _ in range(remote_write.KEPT_MAX + 100):
        job.deliver(15.0)
    assert len(job.writer._kept) == remote_write.KEPT_MAX
    assert job.writer.lost == 100
    stand.answers = []
    job.deliver(60.0)
    assert tokens(stand)[-1][1] == round((job.now_s - 1_700_000_000) * 1000)


def test_what_is_refused_for_good_is_dropped_and_what_follows_is_sent(stand: Stand) -> None:
    job = Job(stand)
    stand.answers = [400]
    assert job.deliver() == "remote-write answers 400: why ! again=False"
    assert job.deliver() == ""
    assert [ms for _, ms in tokens(stand)] == [30_000]
    assert job.writer.lost == 1


def test_a_receiver_that_is_gone_is_tried_again(stand: Stand) -> None:
    job = Job(stand)
    port = stand.port
    stand.close()
    said = job.deliver()
    assert said == "remote-write is not reached: Connection refused again=True"
    back = Stand(port)
    try:
        assert job.deliver(60.0) == ""
        assert len(tokens(back)) == 2
    finally:
        back.close()
        stand._server = back._server  # the fixture closes it once more


def test_a_series_that_has_gone_ends_and_so_does_every_series_with_the_job(stand: Stand) -> None:
    job = Job(stand)
    job.deliver()
    job.figures = Figures(run_id="a", attempt=0)
    job.deliver()
    job.figures = Figures(run_id="a", attempt=0, tokens=9.0)
    job.deliver(final=True)
    values = tokens(stand)
    assert [ms for _, ms in values] == [15_000, 30_000, 45_000, 45_001]
    assert [is_stale(value) for value, _ in values] == [False, True, False, True]
    assert values[2][0] == 9.0
    last = remote_write.decoded_request(stand.received[-1].body)
    assert all(is_stale(samples[-1][0]) for samples in last.values())
    job.deliver(final=True)
    assert len(stand.received) == 3  # the end comes once


def test_a_clock_that_is_set_back_makes_no_sample_older_than_the_one_before(stand: Stand) -> None:
    job = Job(stand)
    job.deliver()
    job.writer._clock_ms = lambda: 1_700_000_000_000
    job.deliver()
    assert [ms for _, ms in tokens(stand)] == [15_000, 15_001]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_takes_the_secret_elsewhere(stand: Stand, status: int) -> None:
    other = Stand()
    try:
        stand.answers = [status]
        stand.headers = {"Location": other.url}
        with pytest.raises(UndeliveredError) as refused:
            receiver(stand).send("POST", stand.url, b"", {})
        assert not refused.value.again
        assert other.received == []
    finally:
        other.close()
    assert "hunter2" not in repr(receiver(stand))


def test_an_answer_that_is_no_http_or_never_comes_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import socket  # noqa: PLC0415 - here alone

    monkeypatch.setattr("greenai.exporters.delivery.TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Receiver("OTLP", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        before = time.monotonic()
        with pytest.raises(UndeliveredError, match="OTLP is not reached") as refused:
            target.send("POST", target.url, b"x", {})
        assert refused.value.again
        assert time.monotonic() - before < 5


def test_a_gateway_gets_each_rank_in_its_own_group_without_gauges(stand: Stand) -> None:
    steps = StepHistogram.of_energy()
    steps.observe(1.0, 1)
    gpu = DeviceFigures(
        device="gpu0", kind="gpu", power_w=250.0, energy_j_by_phase={"train_step": 5.0}
    )
    ranks = [
        Figures(
            run_id="run/1", attempt=1, rank=rank, info={"host": "h"}, devices=(gpu,), tokens=7.0,
            step_energy_j=steps,
        )
        for rank in (0, 8)
    ]  # fmt: skip
    gateway = Receiver("Pushgateway", stand.url)
    for labels, figures in groups(ranks):
        push_totals(gateway, registry_of(lambda one=figures: one), labels)  # type: ignore[misc] # called at once
    assert [request.method for request in stand.received] == ["PUT", "PUT"]
    assert "/job/greenai/" in stand.received[0].path
    assert "/rank/8/" in stand.received[1].path
    names = {metric.name for metric in parse_text(stand.received[0].body.decode())}
    assert names == {
        "greenai_energy_joules", "greenai_tokens", "greenai_step_energy_joules",
        "greenai_run_info", "greenai_device_info",
    }  # fmt: skip


def test_a_gateway_that_refuses_or_is_down_says_which(stand: Stand) -> None:
    registry = registry_of(lambda: Figures(run_id="a", attempt=0))
    for status, again in ((400, False), (502, True)):
        stand.answers = [status]
        with pytest.raises(UndeliveredError) as refused:
            push_totals(Receiver("Pushgateway", stand.url), registry, {"run_id": "a"})
        assert refused.value.again is again


def test_a_textfile_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "run.prom"
    course: list[float | None] = [1.0, None, 2.0]

    def collect() -> Figures:
        if (amount := course.pop(0)) is None:
            raise RuntimeError("no figures")
        return Figures(run_id="a", attempt=0, tokens=amount)

    registry = registry_of(collect)
    write_textfile(path, registry)
    before = path.read_text()
    with pytest.raises(RuntimeError):
        write_textfile(path, registry)
    assert path.read_text() == before
    write_textfile(path, registry)
    assert "greenai_tokens_total" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["run.prom"]


def test_a_target_has_no_label_that_a_metric_has(tmp_path: Path) -> None:
    import json  # noqa: PLC0415 - here alone

    path = tmp_path / "deep" / "targets.json"
    write_targets(path, "::", 9400, scheme="https")
    (one,) = json.loads(path.read_text())
    exposed = {*COMMON_LABELS, "le", *(label for family in FAMILIES for label in family.labels)}
    assert not set(one["labels"]) & (exposed | {"instance", "job"})
    assert one["labels"]["__scheme__"] == "https"
    write_targets(path, "fe80::1", 9400)
    assert json.loads(path.read_text())[0]["targets"] == ["[fe80::1]:9400"]
    remove_targets(path, "::", 9400, scheme="https")
    assert path.exists(), "the next attempt's endpoint was told away"
    remove_targets(path, "fe80::1", 9400)
    remove_targets(path, "fe80::1", 9400)
    assert list(path.parent.iterdir()) == []


def test_label_values_of_strangers_are_sent_as_unicode(stand: Stand) -> None:
    job = Job(stand)
    job.figures = Figures(
        run_id='a"\n\\\ud800', attempt=0, info={"project": "é" * 10_000, "variant": "\x00"}
    )
    assert job.deliver() == ""
    (labels,) = [
        dict(labels)
        for labels in remote_write.decoded_request(stand.received[0].body)
        if dict(labels)["__name__"] == "greenai_run_info"
    ]
    assert labels["run_id"].isprintable()
    assert len(labels["project"]) == 200
