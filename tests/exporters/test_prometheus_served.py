"""Laws of the served endpoint: it answers what was asked, and no client can hold it up."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from greenai.errors import OrderError
from greenai.exporters import connections
from greenai.exporters.prometheus import Endpoint, Figures, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


def figures() -> Figures:
    return Figures(run_id="r", attempt=0, tokens=512.0)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = serve(figures, port=0)
    yield served
    served.close()


def ask(
    endpoint: Endpoint, path: str = "/metrics", method: str = "GET", accept: str = "*/*"
) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(endpoint.address, endpoint.port, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def answered(endpoint: Endpoint) -> bool:
    try:
        return ask(endpoint)[0] == 200
    except (http.client.RemoteDisconnected, ConnectionError):
        return False


def test_text_is_served_to_whoever_asks_for_nothing_else(endpoint: Endpoint) -> None:
    status, content_type, body = ask(endpoint)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert {metric.name for metric in parse_text(body)} == {"greenai_run_info", "greenai_tokens"}


def test_openmetrics_is_served_to_whoever_accepts_it(endpoint: Endpoint) -> None:
    status, content_type, body = ask(endpoint, accept=OPENMETRICS)
    assert status == 200
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith("# EOF\n")


def test_a_query_does_not_hide_the_page(endpoint: Endpoint) -> None:
    assert ask(endpoint, "/metrics?x=1")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/metrics2"])
def test_every_other_path_is_not_found(endpoint: Endpoint, path: str) -> None:
    assert ask(endpoint, path)[0] == 404


def test_head_answers_without_a_body(endpoint: Endpoint) -> None:
    assert ask(endpoint, method="HEAD")[::2] == (200, "")


def test_nothing_can_be_changed_from_outside(endpoint: Endpoint) -> None:
    assert ask(endpoint, method="POST")[0] == 405


def test_it_listens_on_this_machine_only_by_default(endpoint: Endpoint) -> None:
    assert endpoint.address == "127.0.0.1"
    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}"


def test_a_taken_port_gives_the_next_one_and_a_warning(endpoint: Endpoint) -> None:
    second = serve(figures, port=endpoint.port)
    try:
        assert second.port != endpoint.port
        assert f"{endpoint.port} of 127.0.0.1 is taken" in second.warning
        assert str(second.port) in second.warning
        assert ask(second)[0] == 200
    finally:
        second.close()


def test_a_free_port_gives_no_warning(endpoint: Endpoint) -> None:
    assert endpoint.warning == ""


def test_a_closed_endpoint_frees_its_port_at_once_and_may_be_closed_again() -> None:
    first = serve(figures, port=0)
    before = time.monotonic()
    first.close()
    first.close()
    assert time.monotonic() - before < 1
    second = serve(figures, port=first.port)
    second.close()
    assert (second.port, second.warning) == (first.port, "")


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    served = serve(figures, port=0)
    ask(served)
    served.close()
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize(
    ("address", "port"), [("127.0.0.1", -1), ("127.0.0.1", 65_536), ("192.0.2.1", 0)]
)
def test_an_address_that_cannot_be_bound_is_an_error_at_once(address: str, port: int) -> None:
    with pytest.raises(OrderError):
        serve(figures, address, port=port)


def test_a_silent_client_holds_up_no_other(endpoint: Endpoint) -> None:
    with socket.create_connection((endpoint.address, endpoint.port)) as silent:
        silent.sendall(b"GET /metrics HT")
        before = time.monotonic()
        assert ask(endpoint)[0] == 200
        assert time.monotonic() - before < 1


def test_silent_clients_give_their_place_to_one_that_asks(endpoint: Endpoint) -> None:
    where = (endpoint.address, endpoint.port)
    idle = [socket.create_connection(where) for _ in range(connections.CLIENTS_MAX)]
    try:
        assert answered(endpoint)
    finally:
        for one in idle:
            one.close()


def test_clients_beyond_the_bound_are_sent_away_while_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CLIENTS_MAX", 2)
    go_on = threading.Event()

    def slow() -> Figures:
        go_on.wait(30)
        return figures()

    endpoint = serve(slow, port=0)
    asking = [threading.Thread(target=answered, args=(endpoint,)) for _ in range(2)]
    try:
        for one in asking:
            one.start()
        give_up = time.monotonic() + 10
        server = endpoint._server
        while len(server._deadlines) < 2 or server._asking:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert not answered(endpoint)
        go_on.set()
        while not answered(endpoint):
            assert time.monotonic() < give_up
            time.sleep(0.01)
    finally:
        go_on.set()
        for one in asking:
            one.join()
        endpoint.close()


def test_a_failing_source_ends_its_own_scrape_only(capsys: pytest.CaptureFixture[str]) -> None:
    course: list[Figures | Exception] = [
        RuntimeError("no figures yet"),
        RuntimeError("no figures yet"),
        figures(),
    ]

    def collect() -> Figures:
        latest = course.pop(0)
        if isinstance(latest, Exception):
            raise latest
        return latest

    served = serve(collect, port=0)
    try:
        for _ in range(2):
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                ask(served)
        assert ask(served)[0] == 200
    finally:
        served.close()
    assert capsys.readouterr().err.count("no figures yet") == 1


def test_concurrent_scrapes_all_get_a_whole_page(endpoint: Endpoint) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(len(ask(endpoint)[2]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(set(answers)) == 1
    assert len(answers) == 8
