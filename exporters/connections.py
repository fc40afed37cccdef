"""Connections of an endpoint: how many, how long, how large, and what each may ask for."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import math
import socket
import socketserver
import sys
import threading
import time
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from io import BufferedIOBase

    from greenai.exporters.access import Access

CLIENTS_MAX = 16
STREAMS_MAX = 32
"""Viewers of streams; they are counted apart, so that they keep no scrape out."""
CLIENT_SILENT_S = 5.0
"""Longest wait for a client's next byte, or for it to take one."""
CLIENT_DEADLINE_S = 10.0
"""Longest life of a connection, so that a byte now and then does not keep it; not of a stream."""
STREAM_SILENT_S = 15.0
"""A stream yields at least this often, else a viewer that went away would keep its place."""
LINE_BYTES_MAX = 8_192
"""Longest request line."""
HEAD_BYTES_MAX = 32_768
"""Most bytes of a request line and all headers."""
FIELDS_MAX = 64
"""Most parameters of a query."""
LEFT_OVER_BYTES_MAX = 1 << 20
"""What a refused client may still send before the connection is reset under its answer."""
LEFT_OVER_WAIT_S = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a page may know of who asks for it.

    Attributes:
        query: Parameters behind the path; the last value of each.
        accept: The Accept header.
        last_event_id: Where a broken-off stream of events is to go on; empty at its start.
        closing: Set when the endpoint closes; a stream waits on it instead of sleeping.
    """

    query: Mapping[str, str]
    accept: str
    last_event_id: str
    closing: threading.Event


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One answer.

    Attributes:
        content_type: Media type with its charset.
        body: Bytes as sent; or, for a stream, a generator of them, which yields something at
            least every ``STREAM_SILENT_S`` and is closed when its viewer has gone.
        headers: Further headers, with values of ours alone.
    """

    content_type: str
    body: bytes | Generator[bytes, None, None]
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Bounds the number and the life of connections.

    Args:
        address: Address to bind.
        port: Port to bind.
        pages: What to answer by path.
        access: Who may read.

    Raises:
        OSError: The address or the port is not to be had.
    """

    daemon_threads = True
    request_queue_size = 128  # a flood of connections delays no other one by a second

    def __init__(
        self,
        address: str,
        port: int,
        pages: Mapping[str, Callable[[Request], Page]],
        access: Access,
    ) -> None:
        self.pages = pages
        self.access = access
        self.tls = access.tls()
        self.closing = threading.Event()
        self._deadlines: dict[Any, float] = {}
        self._streams: set[Any] = set()
        self._asking: dict[Any, None] = {}
        """Clients whose request is not here yet, the longest first."""
        self._counting = threading.Lock()
        self._said: set[str] = set()
        family, _, _, _, bound = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        super().__init__((str(bound[0]), port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service, as HTTPServer would: that may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; what TLS has to say is said later, in the connection's thread."""
        connection, client = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, client

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; where too many do, in place of one that has not asked."""
        with self._counting:
            if len(self._deadlines) - len(self._streams) >= CLIENTS_MAX:
                if not self._asking:
                    super().shutdown_request(request)
                    return
                slowest = next(iter(self._asking))
                del self._asking[slowest], self._deadlines[slowest]
                _cut(slowest)
            self._deadlines[request] = time.monotonic() + CLIENT_DEADLINE_S
            self._asking[request] = None
        super().process_request(request, client_address)

    def has_asked(self, request: Any) -> None:
        """Keep the client from being let go for another one: its request is here."""
        with self._counting:
            self._asking.pop(request, None)

    def may_stream(self, request: Any) -> bool:
        """Take a connection out of the clients and into the viewers; False where these are full."""
        with self._counting:
            if len(self._streams) >= STREAMS_MAX:
                return False
            self._streams.add(request)
            self._deadlines[request] = math.inf
            return True

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and end it."""
        with self._counting:
            self._deadlines.pop(request, None)
            self._asking.pop(request, None)
            self._streams.discard(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections that are past their deadline; called every now and then."""
        now = time.monotonic()
        for request, deadline in list(self._deadlines.items()):
            if now > deadline:
                _cut(request)

    def end_all(self, within_s: float) -> None:
        """End every stream, and what is being answered too where it is not done in time."""
        for request in list(self._streams):
            _cut(request)
        give_up_s = time.monotonic() + within_s
        while self._deadlines and time.monotonic() < give_up_s:
            time.sleep(0.01)
        for request in list(self._deadlines):
            _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write one line for each kind of failure; a client that went away is none."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError) and (text := repr(error)[:200]) not in self._said:
            self._said.add(text)
            sys.stderr.write(f"greenai: a page could not be served: {text}\n")


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the known paths, to those who may read."""

    server: Server
    timeout = CLIENT_SILENT_S
    server_version = "greenai"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # else what cannot be read is answered without a status
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s. %(explain)s\n"

    def setup(self) -> None:
        """Agree on TLS first, where there is any; the client may be as slow as with its request."""
        super().setup()
        if self.server.tls is not None:
            self.connection.do_handshake()

    def handle(self) -> None:
        """Answer one request; the connection ends with it."""
        self.close_connection = True
        self.requestline = self.request_version = self.command = ""
        self.refused = False
        # The base class reads from it, with bounds of megabytes of its own.
        self.rfile = _Head(self.rfile)  # type: ignore[assignment] # has what the base class uses
        try:
            self.raw_requestline = self.rfile.readline(LINE_BYTES_MAX + 1)
            if len(self.raw_requestline) > LINE_BYTES_MAX:
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.raw_requestline and self.parse_request():
                self.server.has_asked(self.request)
                self._answer()
        except TimeoutError:
            self.send_error(HTTPStatus.REQUEST_TIMEOUT)
        if self.refused:
            self._take_what_is_left()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse, in plain text."""
        self.refused = True
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Write nothing: a line a scrape would fill the sampler's log."""

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host", [])
        path, _, query = self.path.partition("?")
        page_of = self.server.pages.get(path)
        if len(hosts) != 1:
            self.send_error(HTTPStatus.BAD_REQUEST, explain="One Host header is needed")
        elif not self.server.access.knows(hosts[0].strip()):
            self.send_error(
                HTTPStatus.MISDIRECTED_REQUEST, explain="Not a name of this machine that is known"
            )
        elif not self.server.access.allows(self.headers.get("Authorization", "")):
            self._refuse(HTTPStatus.UNAUTHORIZED, "WWW-Authenticate", 'Basic realm="greenai"')
        elif self.command not in {"GET", "HEAD"}:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Allow", "GET, HEAD")
        elif page_of is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"Try {', '.join(self.server.pages)}")
        elif (fields := _fields(query)) is None:
            self.send_error(HTTPStatus.BAD_REQUEST, explain="The query cannot be read")
        else:
            self._send(
                page_of(
                    Request(
                        query=fields,
                        accept=self.headers.get("Accept", ""),
                        last_event_id=self.headers.get("Last-Event-ID", ""),
                        closing=self.server.closing,
                    )
                )
            )

    def _send(self, page: Page) -> None:
        if isinstance(page.body, bytes):
            self._head_of(page, {"Content-Length": str(len(page.body))})
            if self.command == "GET":
                self.wfile.write(page.body)
            return
        with contextlib.closing(page.body) as chunks:
            if self.command == "GET" and not self.server.may_stream(self.request):
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After", "10")
                return
            self._head_of(page, {})
            if self.command == "GET":
                for chunk in chunks:
                    self.wfile.write(chunk)
                    if self.server.closing.is_set():
                        return

    def _head_of(self, page: Page, further: Mapping[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {
            "Content-Type": page.content_type,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **page.headers,
            **further,
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, header: str, value: str) -> None:
        body = f"{status.value} {status.phrase}.\n".encode()
        self.refused = True
        self.send_response(status)
        self.send_header(header, value)
        self.send_header("Content-Type", self.error_content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _take_what_is_left(self) -> None:
        """Read what was sent beyond the bounds: closing over it would reset the connection."""
        with contextlib.suppress(OSError):
            self.connection.settimeout(LEFT_OVER_WAIT_S)
            taken = 0
            while taken < LEFT_OVER_BYTES_MAX and (chunk := self.connection.recv(65_536)):
                taken += len(chunk)


class _Head:
    """A request's head: hands out lines until its bound.

    Args:
        source: What the connection is read from.
    """

    def __init__(self, source: BufferedIOBase) -> None:
        self._source = source
        self._left = HEAD_BYTES_MAX

    def readline(self, size: int) -> bytes:
        """Next line.

        Raises:
            LineTooLong: The bound is passed; the base class answers 431.
        """
        line = self._source.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("head")
        return line

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def _fields(query: str) -> dict[str, str] | None:
    """Parameters of a query; None where there are too many."""
    try:
        return dict(
            urllib.parse.parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS_MAX)
        )
    except ValueError:
        return None


def _cut(connection: Any) -> None:
    """End a connection under its thread; a TLS one without a word, which could block."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
