"""Laws of the ways out of a sampler: each goes on whatever becomes of the others."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from simulation.receiver import Receiver

from greenai import outgoing, periodic
from greenai.errors import RecordError
from greenai.exporters.access import TOKEN_VARIABLE
from greenai.exporters.delivery import UndeliveredError
from greenai.exporters.figures import Figures
from greenai.outgoing import Outgoing
from greenai.outlets import Outlets
from greenai.periodic import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "a-token-of-this-test"  # noqa: S105 - opens nothing


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "FIRST_S", 0.02)
    monkeypatch.setattr(periodic, "AGAIN_S", 0.1)
    monkeypatch.setattr(outgoing, "QUICK_S", 0.1)
    monkeypatch.setattr(outgoing, "FINISH_S", 2.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def carried(
    environment: dict[str, str] | None = None,
    *,
    port: int | None = None,
    address: str = "127.0.0.1",
    others_closed: Callable[[], bool] = lambda: True,
    **told: Any,
) -> Outgoing:
    config = {
        "metrics_port": port,
        "metrics_address": address,
        "metrics": {**Outlets(interval_s=0.05).to_json(), **told},
        "manifest": {"rank": 3, "local_rank": 0},
        "run": {"run_id": "abc"},
    }
    figures = Figures(run_id="abc", attempt=0, tokens=7.0, info={"host": "h"})
    return Outgoing(lambda: figures, config, environment or {}, others_closed)


class Way:
    """Fails as told and remembers how it was called."""

    def __init__(self, *course: Exception | None) -> None:
        self.course = list(course)
        self.calls: list[bool] = []

    def __call__(self, *, final: bool) -> None:
        self.calls.append(final)
        if self.course and (error := self.course.pop(0)) is not None:
            raise error


def test_the_last_call_is_made_once_and_no_other_follows() -> None:
    way = Way()
    delivery = Delivery("way", way, interval_s=0.02, say=print)
    until(lambda: len(way.calls) > 3)
    delivery.end(1.0)
    delivery.end(1.0)
    delivery.join()
    assert way.calls.count(True) == 1
    assert way.calls[-1]


def test_a_way_for_totals_is_called_at_the_end_alone() -> None:
    way = Way()
    delivery = Delivery("way", way, interval_s=0.02, say=print, only_last=True)
    time.sleep(0.1)
    delivery.end(1.0)
    delivery.join()
    assert way.calls == [True]


def test_a_failure_is_said_once_and_the_end_is_tried_again_until_it_is_given_up() -> None:
    said: list[str] = []
    down = UndeliveredError("It is down", again=True)
    way = Way(down, down, RecordError("The disk is full."), *[down] * 3)
    delivery = Delivery("way", way, interval_s=0.02, say=said.append)
    until(lambda: len(way.calls) >= 3)
    delivery.end(5.0)
    delivery.join()
    assert said == ["It is down. It is tried again.", "The disk is full. It is tried again."]
    assert way.calls[-1]
    assert way.course == []
    for_ever = Way(*[down] * 10_000)
    delivery = Delivery("way", for_ever, interval_s=0.02, say=said.append)
    before = time.monotonic()
    delivery.end(0.5)
    delivery.join()
    assert time.monotonic() - before < 5


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    said: list[str] = []
    way = Way(UndeliveredError("It refuses.", again=False))
    delivery = Delivery("way", way, interval_s=0.02, say=said.append, only_last=True)
    delivery.end(5.0)
    delivery.join()
    assert (way.calls, said) == ([True], ["It refuses. This is given up."])


def test_every_way_is_gone_at_the_same_time(tmp_path: Path, receiver: Receiver) -> None:
    one = carried(
        {
            TOKEN_VARIABLE: TOKEN,
            "GREENAI_PUSHGATEWAY_AUTHORIZATION": "Bearer gateway",
            "GREENAI_REMOTE_WRITE_AUTHORIZATION": "Bearer writer",
        },
        port=0,
        file_sd=str(tmp_path / "{run_id}-{rank}.json"),
        textfile=str(tmp_path / "{host}.prom"),
        pushgateway=receiver.url,
        remote_write=f"{receiver.url}/write",
    )
    targets, text = tmp_path / "abc-3.json", tmp_path / f"{socket.gethostname()}.prom"
    assert json.loads(targets.read_text())[0]["targets"] == [f"127.0.0.1:{one.port}"]
    url = f"http://127.0.0.1:{one.port}/metrics"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url)
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        assert b"greenai_tokens_total" in answer.read()
    until(text.exists)
    until(lambda: len(receiver.received) > 2)
    assert {one.path for one in receiver.received} == {"/write"}
    one.finish()
    pushed = [got for got in receiver.received if got.path != "/write"]
    assert [got.headers["Authorization"] for got in pushed] == ["Bearer gateway"]
    assert {got.headers["Authorization"] for got in receiver.received} == {
        "Bearer gateway",
        "Bearer writer",
    }
    assert not targets.exists()
    assert text.exists()  # node_exporter reads it later
    assert not one.troubles
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(request)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"textfile": "/proc/no/run.prom"}, "cannot be written"),
        ({"pushgateway": "http://127.0.0.1:9"}, "Pushgateway is not reached"),
        ({"remote_write": "http://127.0.0.1:9/"}, "remote-write is not reached"),
        ({"port": 0, "file_sd": "/proc/no/targets.json"}, "cannot be written"),
        ({"port": 0, "address": "0.0.0.0"}, "no token is set"),  # noqa: S104 - refused
        ({"port": 0, "certfile": "/proc/no/c.pem"}, "certificate"),
    ],
)
def test_a_way_that_is_closed_is_said_once_and_nothing_else_suffers(
    told: dict[str, Any], said: str
) -> None:
    one = carried(**told)
    until(lambda: one.troubles or "pushgateway" in told)
    time.sleep(0.2)
    one.finish(quickly=True)
    assert len(one.troubles) == 1
    assert said in one.troubles[0]
    assert "/proc" not in one.troubles[0] or said == "certificate"
    assert (one.port is None) == (said in {"no token is set", "certificate"})


def test_a_taken_port_is_an_error_where_no_other_will_do() -> None:
    first = carried(port=0)
    try:
        strict = carried(port=first.port, strict_port=True)
        assert strict.port is None
        assert str(first.port) in strict.troubles[0]
        strict.finish()
        other = carried(port=first.port)
        assert other.port not in {None, first.port}
        other.finish()
    finally:
        first.finish()


def test_a_scraper_that_comes_by_turns_gets_the_final_totals() -> None:
    one = carried(port=0)
    url = f"http://127.0.0.1:{one.port}/metrics"

    def scrape() -> None:
        with urllib.request.urlopen(url) as answer:
            assert answer.read()

    for _ in range(3):
        scrape()
        time.sleep(0.4)
    ended: list[float] = []
    thread = threading.Thread(target=lambda: (one.finish(), ended.append(time.monotonic())))
    thread.start()
    time.sleep(0.3)
    assert not ended
    scrape()
    thread.join(5)
    assert ended
    never = carried(port=0)
    before = time.monotonic()
    never.finish()
    assert time.monotonic() - before < 2


def test_who_is_waited_for_does_not_wait_for_a_scraper() -> None:
    one = carried(port=0)
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{one.port}/metrics") as answer:
            answer.read()
        time.sleep(0.5)
    before = time.monotonic()
    one.finish(quickly=True)
    assert time.monotonic() - before < 1.5


@pytest.mark.parametrize(("way", "extra"), [("remote_write", "push"), ("otlp", "otlp")])
def test_a_way_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, way: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, f"greenai.exporters.{way}", None)
    one = carried(port=0, **{way: receiver.url})
    assert f'pip install "greenai[{extra}]"' in one.troubles[0]
    assert one.port
    one.finish()


def test_the_last_delivery_waits_for_the_hosts_other_ranks(receiver: Receiver) -> None:
    closed: list[bool] = []
    one = carried(others_closed=lambda: bool(closed), pushgateway=receiver.url)
    thread = threading.Thread(target=one.finish)
    thread.start()
    time.sleep(0.3)
    assert not receiver.received
    closed.append(True)
    thread.join(5)
    assert len(receiver.received) == 1
