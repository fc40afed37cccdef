"""Serves pages of the sampler's process over HTTP, so that no client can hold it up."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PORTS_TRIED = 50
PORT_MAX = 65_535
CLIENTS_MAX = 16
CLIENT_SILENT_S = 5.0
"""Longest wait for a client's next byte."""
CLIENT_DEADLINE_S = 10.0
"""Longest life of a connection, so that a byte now and then does not keep it."""
POLL_S = 0.2
"""How often deadlines and a wish to stop are looked at."""


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One answer.

    Attributes:
        content_type: Media type with its charset.
        body: Bytes as sent.
    """

    content_type: str
    body: bytes


class Endpoint:
    """A served address; what ``listen`` returns.

    Attributes:
        address: Address it is bound to.
        port: Port it got, not always the one that was asked for.
        warning: Sentence for people where the port is another one; empty otherwise.
    """

    def __init__(self, server: _Server, warning: str) -> None:
        self.address = str(server.server_address[0])
        self.port = int(server.server_address[1])
        self.warning = warning
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="greenai-endpoint", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Root of the pages, as a client on this machine writes it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Free the port within ``POLL_S``; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def listen(pages: Mapping[str, Callable[[str], Page]], *, address: str, port: int) -> Endpoint:
    """Serve pages from daemon threads; where the port is taken, from the next free one.

    Args:
        pages: What to answer by path; called with the request's Accept header, from any thread.
        address: Address to bind; ``127.0.0.1`` keeps the pages on this machine.
        port: Port to begin with; 0 takes any free one.

    Returns:
        The endpoint, listening.

    Raises:
        OrderError: The address cannot be bound at all.

    Example:
        >>> endpoint = listen({"/": lambda accept: Page("text/plain", b"hello")},
        ...                   address="127.0.0.1", port=0)
        >>> endpoint.close()
    """
    if not 0 <= port <= PORT_MAX:
        raise OrderError(f"Port {port} does not exist.", hint=f"give a port from 0 to {PORT_MAX}")
    server = _bind(pages, address, port)
    got = int(server.server_address[1])
    taken = f"Port {port} of {address} is taken: figures are served on port {got} instead."
    return Endpoint(server, taken if port and got != port else "")


def _bind(pages: Mapping[str, Callable[[str], Page]], address: str, port: int) -> _Server:
    ports = [*range(port, min(port + PORTS_TRIED, PORT_MAX + 1)), 0] if port else [0]
    reason: OSError | None = None
    for candidate in ports:
        try:
            return _Server(address, candidate, pages)
        except OSError as error:
            reason = error
            if error.errno != errno.EADDRINUSE:
                break
    raise OrderError(
        f"Figures cannot be served on {address} port {port}: {reason}.",
        "Live figures will be missing; the record is not concerned.",
        "give an address of this machine and a port above 1023",
    )


class _Server(ThreadingHTTPServer):
    """Bounds the number and the life of connections."""

    daemon_threads = True
    request_queue_size = CLIENTS_MAX

    def __init__(self, address: str, port: int, pages: Mapping[str, Callable[[str], Page]]) -> None:
        self.pages = pages
        self._deadlines: dict[Any, float] = {}
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

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, unless too many already do."""
        if len(self._deadlines) >= CLIENTS_MAX:
            self.shutdown_request(request)
            return
        self._deadlines[request] = time.monotonic() + CLIENT_DEADLINE_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and end it."""
        self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections that are past their deadline; called every ``POLL_S``."""
        now = time.monotonic()
        for request, deadline in list(self._deadlines.items()):
            if now > deadline:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write one line for each kind of failure; a client that went away is none."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError) and (text := repr(error)[:200]) not in self._said:
            self._said.add(text)
            sys.stderr.write(f"greenai: a page could not be served: {text}\n")


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the known paths."""

    server: _Server
    timeout = CLIENT_SILENT_S
    server_version = "greenai"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the page."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Write nothing: a line a scrape would fill the sampler's log."""

    def _answer(self, *, with_body: bool) -> None:
        page_of = self.server.pages.get(self.path.partition("?")[0])
        if page_of is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"try {', '.join(self.server.pages)}")
            return
        page = page_of(self.headers.get("Accept", ""))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)
