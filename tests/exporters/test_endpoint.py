"""Laws of an endpoint that strangers can reach: who may read, what may be asked, how long."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from simulation import servers

from greenai.errors import OrderError
from greenai.exporters import connections
from greenai.exporters.access import TOKEN_VARIABLE, Access, token_of
from greenai.exporters.endpoint import Endpoint, Page, Request, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

TOKEN = "a-token-of-this-test"  # noqa: S105 - opens nothing
GOOD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ended: list[str] = []


def page(request: Request) -> Page:
    return Page("text/plain", f"hello {request.query.get('name', '')}".encode())


def stream(request: Request) -> Page:
    def events() -> Generator[bytes, None, None]:
        try:
            yield b"data: begin\n\n"
            while not request.closing.wait(0.05):
                yield b": still here\n\n"
        finally:
            ended.append("stream")

    return Page("text/event-stream", events())


PAGES = {"/": page, "/events": stream}


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    with contextlib.ExitStack() as stack:

        def serve(**options: object) -> Endpoint:
            endpoint = listen(PAGES, **{"address": "127.0.0.1", "port": 0, **options})  # type: ignore[arg-type] # literals of this file
            stack.callback(endpoint.close)
            return endpoint

        yield serve


@pytest.fixture(scope="module")
def shared() -> Iterator[Endpoint]:
    endpoint = listen(
        PAGES, address="127.0.0.1", port=0, access=Access(hosts=("node17.cluster.example",))
    )
    yield endpoint
    endpoint.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Endpoint]:
    endpoint = listen(PAGES, address="127.0.0.1", port=0, access=Access(token=TOKEN))
    yield endpoint
    endpoint.close()


def raw(endpoint: Endpoint, request: bytes) -> bytes:
    """Send bytes as they are and read until the end."""
    with socket.create_connection((endpoint.address, endpoint.port), timeout=10) as client:
        client.sendall(request)
        answer = b""
        while more := client.recv(65_536):
            answer += more
        return answer


def status(endpoint: Endpoint, request: bytes) -> int:
    answer = raw(endpoint, request)
    return int(answer.split(b" ", 2)[1]) if answer else 0


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:9400", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9400", 200),
        ("[fe80::1]", 200),
        (socket.gethostname(), 200),
        ("node17.cluster.example:9400", 200),
        ("rebound.example", 421),
        ("127.0.0.1.rebound.example", 421),
        ("localhost.rebound.example:80", 421),
        ("[::1].rebound.example", 421),
        ("localhost:80:80", 421),
        ("", 421),
        ("a@localhost", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(
    shared: Endpoint, host: str, expected: int
) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert status(shared, request) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/x\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /?" + b"&".join([b"a=b"] * 100) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://rebound.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsomething", 405),
    ],
)
def test_what_is_malformed_is_refused_and_the_next_is_answered(
    shared: Endpoint, request_: bytes, expected: int
) -> None:
    assert status(shared, request_) == expected
    assert raw(shared, GOOD).endswith(b"hello ")


def test_a_query_comes_to_the_page_decoded(shared: Endpoint) -> None:
    answer = raw(shared, b"GET /?name=a%20b%FF&name=c%2Fd HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.endswith(b"hello c/d")


@pytest.mark.parametrize("silence", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_half_open_client_is_let_go(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch, silence: bytes
) -> None:
    monkeypatch.setattr(connections._Handler, "timeout", 0.2)
    assert status(serve(), silence) == 408


def test_a_byte_now_and_then_does_not_keep_a_connection(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLIENT_DEADLINE_S", 0.5)
    endpoint = serve()
    with socket.create_connection((endpoint.address, endpoint.port)) as dripping:
        give_up = time.monotonic() + 10
        with contextlib.suppress(ConnectionError):
            while True:
                assert time.monotonic() < give_up
                dripping.sendall(b"G")
                time.sleep(0.05)


def test_half_open_clients_keep_no_scrape_out(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(4 * connections.CLIENTS_MAX):
            silent = stack.enter_context(
                socket.create_connection((endpoint.address, endpoint.port))
            )
            with contextlib.suppress(ConnectionError):  # already let go for a later one
                silent.sendall(b"GET / HT")
        assert status(endpoint, GOOD) == 200
        until(lambda: threading.active_count() - before <= connections.CLIENTS_MAX)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer a-token-of-another", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Digest {TOKEN}", 401),
        ("Basic ////", 401),
        ("Basic \xff\xff", 401),
        (basic("anyone", "wrong"), 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (basic("anyone", TOKEN), 200),
        (basic("", TOKEN), 200),
    ],
)
def test_a_token_is_asked_for_as_bearer_or_as_password(
    guarded: Endpoint, authorization: str | None, expected: int
) -> None:
    line = "" if authorization is None else f"Authorization: {authorization}\r\n"
    answer = raw(guarded, f"GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n".encode("latin-1"))
    assert int(answer.split(b" ", 2)[1]) == expected
    assert (b"WWW-Authenticate: Basic" in answer) == (expected == 401)
    assert TOKEN.encode() not in answer


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - refused
def test_an_address_that_others_reach_needs_a_token_or_is_meant_to_be_open(address: str) -> None:
    with pytest.raises(OrderError, match="no token is set"):
        listen(PAGES, address=address, port=0)


@pytest.mark.parametrize("access", [Access(token=TOKEN), Access(insecure=True)])
def test_an_open_address_with_a_token_or_meant_to_be_open_is_served(
    serve: Callable[..., Endpoint], access: Access
) -> None:
    endpoint = serve(address="0.0.0.0", access=access)  # noqa: S104 - with a token
    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}"
    assert status(endpoint, GOOD) == (401 if access.token else 200)


def test_ipv6_is_served_under_its_own_loopback(serve: Callable[..., Endpoint]) -> None:
    try:
        endpoint = serve(address="::1")
    except OrderError:
        pytest.skip("this machine has no IPv6")
    with urllib.request.urlopen(endpoint.url + "/") as answer:
        assert answer.read() == b"hello "


@pytest.mark.parametrize(
    "token", ["short", "with space in the token", "\u00fcmlaut" * 5, "x" * 600]
)
def test_a_token_that_protects_nothing_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(OrderError) as refused:
        token_of({TOKEN_VARIABLE: token})
    assert token not in str(refused.value)
    assert token not in repr(Access(token=token))


def test_a_taken_port_is_an_error_where_no_other_will_do(serve: Callable[..., Endpoint]) -> None:
    first = serve()
    with pytest.raises(OrderError, match=str(first.port)):
        serve(port=first.port, strict_port=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return servers.certificate(tmp_path_factory.mktemp("tls"))


def test_tls_is_served_and_plain_http_is_not(
    serve: Callable[..., Endpoint], certificate: Path
) -> None:
    endpoint = serve(access=Access(certfile=str(certificate)))
    trusting = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(endpoint.url + "/", context=trusting) as answer:
        assert answer.read() == b"hello "
    assert endpoint.url.startswith("https://")
    with contextlib.suppress(ConnectionError):
        assert raw(endpoint, GOOD) == b""
    # A client that never shakes hands holds up no other.
    with (
        socket.create_connection((endpoint.address, endpoint.port)),
        urllib.request.urlopen(endpoint.url + "/", context=trusting, timeout=5) as answer,
    ):
        assert answer.status == 200


def test_a_certificate_that_cannot_be_used_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(OrderError, match=name):
            listen(PAGES, address="127.0.0.1", port=0, access=Access(certfile=str(tmp_path / name)))


def view(endpoint: Endpoint) -> socket.socket:
    viewer = socket.create_connection((endpoint.address, endpoint.port), timeout=10)
    viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return viewer


def test_viewers_are_bounded_and_keep_no_scrape_out(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STREAMS_MAX", 4)
    monkeypatch.setattr(connections, "CLIENTS_MAX", 2)
    monkeypatch.setattr(connections, "CLIENT_DEADLINE_S", 0.5)
    endpoint = serve()
    ended.clear()
    with contextlib.ExitStack() as stack:
        viewers = []
        for _ in range(4):
            viewers.append(stack.enter_context(view(endpoint)))
            assert b"200 OK" in viewers[-1].recv(16)
        with view(endpoint) as one_more:
            assert b"503" in one_more.recv(4096)
        assert status(endpoint, GOOD) == 200
        time.sleep(1.0)  # past the deadline of clients
        for viewer in viewers:
            assert b"still here" in viewer.recv(65_536)
    until(lambda: len(ended) == 4)
    with view(endpoint) as again:
        assert b"200 OK" in again.recv(16)


def test_a_closed_endpoint_ends_its_streams(serve: Callable[..., Endpoint]) -> None:
    before = set(threading.enumerate())
    endpoint = serve()
    with view(endpoint) as viewer:
        assert viewer.recv(16)
        endpoint.close()
        while viewer.recv(65_536):
            pass
    until(lambda: not set(threading.enumerate()) - before)
