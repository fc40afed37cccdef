"""A receiver of what is sent, with the faults of real ones: busy, failing, gone, elsewhere."""

from __future__ import annotations

import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int


class Receiver:
    """An HTTP server on loopback that keeps what it gets and answers as it is told.

    Attributes:
        received: Requests that it took, in order.
        answers: Statuses of the next answers; when they are used up, 204.
        headers: Headers of every answer.
    """

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = outer.answers.pop(0) if outer.answers else 204
                outer.received.append(
                    Received(self.command, self.path, dict(self.headers.items()), body, status)
                )
                self.send_response(status)
                for name, text in outer.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", "0" if status == 204 else "5")
                self.end_headers()
                if status != 204:
                    self.wfile.write(b"why\x1b!")

            do_PUT = do_POST  # noqa: N815 - the base's name

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
