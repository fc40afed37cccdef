"""Carries the latest figures out of the sampler's process: served, written and sent."""

from __future__ import annotations

import functools
import itertools
import os
import socket
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from greenai.errors import GreenAIError
from greenai.exporters.access import Access, token_of
from greenai.exporters.delivery import Receiver, UndeliveredError
from greenai.outlets import Outlets, authorization_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greenai.exporters.endpoint import Endpoint, Page, Request
    from greenai.exporters.figures import Figures

FIRST_S = 1.0
"""The first delivery comes this early, so that a short job is seen at all."""
AGAIN_S = 2.0
"""A last delivery that failed is tried again after this, unless the receiver says otherwise."""
FINISH_S = 30.0
"""A receiver that is down at the end is tried for this long."""
LINGER_MAX_S = 60.0
"""Longest that the endpoint stays for one more scrape, which brings the final totals."""
SCRAPES = 8
"""Scrapes remembered to tell how often one comes: several may scrape, by turns."""
TROUBLES_MAX = 20


class Way(Protocol):
    """One way out."""

    def __call__(self, *, final: bool) -> None:
        """Carry the latest figures out; the last ones where ``final``."""


class Delivery:
    """Calls one way out now and then, and a last time, in a thread that nobody waits for.

    Args:
        name: What people call it.
        way: Raises UndeliveredError or GreenAIError where it fails.
        interval_s: Seconds from one call to the next.
        say: Takes a sentence; called once for each kind of failure.
        only_last: Whether there is but the last call.
    """

    def __init__(
        self,
        name: str,
        way: Way,
        *,
        interval_s: float,
        say: Callable[[str], None],
        only_last: bool = False,
    ) -> None:
        self._name = name
        self._way = way
        self._interval_s = interval_s
        self._say = say
        self._said: set[str] = set()
        self._only_last = only_last
        self._ending = threading.Event()
        self._give_up_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"greenai-{name}", daemon=True)
        self._thread.start()

    def end(self, within_s: float) -> None:
        """Begin the last delivery; it is tried again for ``within_s``. Returns at once."""
        if not self._ending.is_set():
            self._give_up_s = time.monotonic() + within_s
            self._ending.set()

    def join(self) -> None:
        """Wait for the last delivery, however it ends."""
        self._thread.join(max(0.0, self._give_up_s - time.monotonic()) + AGAIN_S)

    def _run(self) -> None:
        wait_s = None if self._only_last else min(FIRST_S, self._interval_s)
        while not self._ending.wait(wait_s):
            wait_s = self._interval_s
            self._try(final=False)
        again_s = self._try(final=True)
        while again_s is not None and time.monotonic() + again_s < self._give_up_s:
            time.sleep(again_s)
            again_s = self._try(final=True)

    def _try(self, *, final: bool) -> float | None:
        """Call it once; seconds until it is worth trying again, None where it is not needed."""
        try:
            self._way(final=final)
        except UndeliveredError as error:
            self._say_once(
                error.reason + (" It is tried again." if error.again else " This is given up.")
            )
            return max(AGAIN_S, error.wait_s) if error.again else None
        except GreenAIError as error:
            self._say_once(f"{_without_path(self._name, error)} It is tried again.")
            return AGAIN_S
        return None

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < TROUBLES_MAX:
            self._said.add(text)
            self._say(text)


class Outgoing:
    """Every way out of one sampler process.

    Args:
        collect: Gives the latest figures, of one rank or of several; called from any thread.
        config: What the training handed over.
        environment: Where secrets come from.

    Attributes:
        port: Port that ``/metrics`` is served at; 0 where it is not asked for, None where it
            cannot be served.
        troubles: Sentences for the record, oldest first; whoever takes one removes it.
    """

    def __init__(
        self,
        collect: Callable[[], Figures | Sequence[Figures]],
        config: Mapping[str, Any],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        from greenai.exporters.prometheus import registry_of  # noqa: PLC0415 - few runs want it

        self.port: int | None = 0
        self.troubles: deque[str] = deque(maxlen=TROUBLES_MAX)
        self._collect = collect
        self._config = config
        self._environment = environment
        self._outlets = Outlets.from_json(config["metrics"])
        self._endpoint: Endpoint | None = None
        self._scraped_s: deque[float] = deque(maxlen=SCRAPES)
        self._registry = registry_of(collect)
        if config["metrics_port"] is not None:
            self._serve(config["metrics_address"], config["metrics_port"])
        self._deliveries = [
            Delivery(name, way, interval_s=self._outlets.interval_s, say=self._trouble,
                     only_last=name == "pushgateway")
            for name, way in self._ways()
        ]  # fmt: skip

    def end(self, *, quickly: bool = False) -> None:
        """Begin the last deliveries: the totals are closed. Returns at once.

        Args:
            quickly: Whether the training waits for this process.
        """
        for delivery in self._deliveries:
            delivery.end(AGAIN_S if quickly else FINISH_S)

    def finish(self, *, quickly: bool = False) -> None:
        """Wait for the last deliveries, and for one more scrape where there were some; then close.

        Args:
            quickly: Whether the training waits for this process, which then waits for little.
        """
        self.end(quickly=quickly)
        if not quickly:
            self._await_scrape()
        for delivery in self._deliveries:
            delivery.join()
        if self._endpoint is not None:
            self._endpoint.close()
            self._remove_targets()

    def _serve(self, address: str, port: int) -> None:
        from greenai.exporters.discovery import write_targets  # noqa: PLC0415 - few runs want it
        from greenai.exporters.endpoint import listen  # noqa: PLC0415 - the same
        from greenai.exporters.prometheus import METRICS_PATH, metrics_page  # noqa: PLC0415

        outlets = self._outlets
        page = metrics_page(self._registry)

        def noted(request: Request) -> Page:
            answer = page(request)
            self._scraped_s.append(time.monotonic())
            return answer

        try:
            self._endpoint = listen(
                {METRICS_PATH: noted},
                address=address,
                port=port,
                strict_port=outlets.strict_port,
                access=Access(
                    token=token_of(self._environment),
                    insecure=outlets.insecure,
                    hosts=outlets.hosts,
                    certfile=outlets.certfile,
                    keyfile=outlets.keyfile,
                ),
            )
            self.port = self._endpoint.port
            if self._endpoint.warning:
                _log(self._endpoint.warning)
            if outlets.file_sd is not None:
                write_targets(
                    self._path(outlets.file_sd), self._endpoint.address, self.port,
                    scheme=outlets.scheme,
                )  # fmt: skip
        except (OSError, GreenAIError) as error:
            if self._endpoint is None:
                self.port = None
            self._trouble(_without_path("file_sd", error))

    def _ways(self) -> list[tuple[str, Way]]:
        """What was asked for, by name; what cannot be begun is said and left out."""
        makers: dict[str, Callable[[], Way]] = {
            "textfile": self._to_textfile,
            "pushgateway": self._to_pushgateway,
            "remote_write": self._to_remote_write,
        }
        ways = []
        for name, make in makers.items():
            if getattr(self._outlets, name) is None:
                continue
            try:
                ways.append((name, make()))
            except ImportError as error:
                self._trouble(
                    f"{name} needs {error.name}, which is not installed: nothing is sent. "
                    'pip install "greenai[push]"'
                )
        return ways

    def _to_textfile(self) -> Way:
        from greenai.exporters.textfile import write_textfile  # noqa: PLC0415 - few runs want it

        path = self._path(str(self._outlets.textfile))

        def way(*, final: bool) -> None:
            del final
            write_textfile(path, self._registry)

        return way

    def _to_pushgateway(self) -> Way:
        from greenai.exporters.prometheus import registry_of  # noqa: PLC0415 - few runs want it
        from greenai.exporters.pushgateway import groups, push_totals  # noqa: PLC0415 - the same

        receiver = self._receiver("Pushgateway", "pushgateway")

        def way(*, final: bool) -> None:
            del final  # there is no other
            for grouping, figures in groups(self._collect()):
                push_totals(receiver, registry_of(functools.partial(_the_same, figures)), grouping)

        return way

    def _to_remote_write(self) -> Way:
        from greenai.exporters.remote_write import RemoteWriter  # noqa: PLC0415 - an extra

        receiver = self._receiver("remote-write", "remote_write")
        return RemoteWriter(receiver, self._registry).deliver

    def _receiver(self, name: str, outlet: str) -> Receiver:
        authorization = self._environment.get(authorization_variable(outlet)) or None
        return Receiver(name, getattr(self._outlets, outlet), authorization)

    def _path(self, template: str) -> Path:
        manifest = self._config["manifest"]
        for field, value in (
            ("{host}", socket.gethostname()),
            ("{run_id}", self._config["run"]["run_id"]),
            ("{rank}", str(manifest["rank"])),
        ):
            template = template.replace(field, value)
        return Path(template)

    def _await_scrape(self) -> None:
        """Keep the endpoint until it is scraped once more, as long as a scraper takes to come."""
        seen = list(self._scraped_s)
        gaps_s = [later - one for one, later in itertools.pairwise(seen)]
        if not gaps_s:
            return
        give_up_s = time.monotonic() + min(2 * max(gaps_s), LINGER_MAX_S)
        while time.monotonic() < give_up_s and self._scraped_s[-1] == seen[-1]:
            time.sleep(0.1)

    def _remove_targets(self) -> None:
        from greenai.exporters.discovery import remove_targets  # noqa: PLC0415 - few runs want it

        if self._outlets.file_sd is not None:
            remove_targets(self._path(self._outlets.file_sd))

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)
        _log(text)


def _without_path(name: str, error: OSError | GreenAIError) -> str:
    """What went wrong, for the record, which holds no path of the user's."""
    cause = error.__cause__ if isinstance(error, GreenAIError) else error
    if isinstance(cause, OSError):
        return f"The {name} cannot be written: {cause.strerror}."
    return error.what if isinstance(error, GreenAIError) else str(error)


def _the_same(figures: Figures) -> Figures:
    return figures


def _log(text: str) -> None:
    """Write a line into sampler.log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
