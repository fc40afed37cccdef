"""Serves pages of a process of ours over HTTP, so that no client can hold it up."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from greenai.errors import OrderError
from greenai.exporters.access import Access
from greenai.exporters.connections import Page, Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Access", "Endpoint", "Page", "Request", "listen"]

PORTS_TRIED = 50
PORT_MAX = 65_535
POLL_S = 0.2
"""How often deadlines and a wish to stop are looked at."""
ANSWERING_S = 0.5
"""A client that is being answered when the endpoint closes gets this long to take it."""


class Endpoint:
    """A served address; what ``listen`` returns.

    Attributes:
        address: Address it is bound to.
        port: Port it got, not always the one that was asked for.
        warning: Sentence for people where the port is another one; empty otherwise.
    """

    def __init__(self, server: Server, warning: str) -> None:
        self.address = str(server.server_address[0])
        self.port = int(server.server_address[1])
        self.warning = warning
        self._scheme = "http" if server.tls is None else "https"
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="greenai-endpoint", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Root of the pages, as a client on this machine writes it."""
        every = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        address = every.get(self.address, self.address)
        return f"{self._scheme}://{f'[{address}]' if ':' in address else address}:{self.port}"

    def close(self) -> None:
        """Free the port within ``POLL_S`` and end every client; a second call does nothing."""
        self._server.closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end_all(ANSWERING_S)


def listen(
    pages: Mapping[str, Callable[[Request], Page]],
    *,
    address: str,
    port: int,
    access: Access | None = None,
    strict_port: bool = False,
) -> Endpoint:
    """Serve pages from daemon threads; where the port is taken, from the next free one.

    A page is found by its exact path in ``pages``: nothing of a request ever names a file.

    Args:
        pages: What to answer by path; called from any thread.
        address: Address to bind; ``127.0.0.1`` keeps the pages on this machine.
        port: Port to begin with; 0 takes any free one.
        access: Who may read; None is everyone on this machine.
        strict_port: Whether a port that is taken is an error.

    Returns:
        The endpoint, listening.

    Raises:
        OrderError: The address cannot be bound at all, is open to others without a token, or the
            port is taken and ``strict_port`` set.

    Example:
        >>> endpoint = listen({"/": lambda request: Page("text/plain", b"hello")},
        ...                   address="127.0.0.1", port=0)
        >>> endpoint.close()
    """
    access = access or Access()
    if not 0 <= port <= PORT_MAX:
        raise OrderError(f"Port {port} does not exist.", hint=f"give a port from 0 to {PORT_MAX}")
    access.check_address(address)
    server = _bind(pages, address, port, access, tries=1 if strict_port else PORTS_TRIED)
    got = int(server.server_address[1])
    taken = f"Port {port} of {address} is taken: figures are served on port {got} instead."
    return Endpoint(server, taken if port and got != port else "")


def _bind(
    pages: Mapping[str, Callable[[Request], Page]],
    address: str,
    port: int,
    access: Access,
    *,
    tries: int,
) -> Server:
    ports = list(range(port, min(port + tries, PORT_MAX + 1))) if port else [0]
    if tries > 1 and port:
        ports.append(0)
    reason: OSError | None = None
    for candidate in ports:
        try:
            return Server(address, candidate, pages, access)
        except OSError as error:
            reason = error
            if error.errno != errno.EADDRINUSE:
                break
    raise OrderError(
        f"Figures cannot be served on {address} port {port}: {reason}.",
        "Live figures will be missing; the record is not concerned.",
        "give an address of this machine and a port above 1023"
        if tries > 1
        else "give a free port, 0 for any, or leave strict_port out",
    )
