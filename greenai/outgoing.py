"""Carries the latest figures out of the sampler's process: served, written and sent."""

from __future__ import annotations

import functools
import itertools
import os
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import GreenAIError
from greenai.exporters.access import Access, token_of
from greenai.exporters.delivery import Receiver
from greenai.outlets import Outlets, authorization_variable
from greenai.periodic import TROUBLES_MAX, Delivery, without_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greenai.exporters.endpoint import Endpoint, Page, Request
    from greenai.exporters.figures import Figures
    from greenai.periodic import Way

FINISH_S = 30.0
"""A receiver that is down at the end is tried for this long."""
QUICK_S = 2.0
"""The same, where the training waits for this process."""
OTHERS_S = 5.0
"""Other ranks of the host have closed their totals by then, or are not waited for any longer."""
LINGER_MAX_S = 60.0
"""Longest that the endpoint stays for one more scrape, which brings the final totals."""
SCRAPES = 8
"""Scrapes remembered to tell how often one comes: several may scrape, by turns."""
EXTRAS = {"remote_write": "push", "otlp": "otlp"}
"""What brings the libraries of a way out."""


class Outgoing:
    """Every way out of one sampler process.

    Args:
        collect: Gives the latest figures, of one rank or of several; called from any thread.
        config: What the training handed over.
        environment: Where secrets come from.
        others_closed: Tells whether the host's other ranks have closed their totals.

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
        others_closed: Callable[[], bool] = lambda: True,
    ) -> None:
        from greenai.exporters.prometheus import registry_of  # noqa: PLC0415 - few runs want it

        self.port: int | None = 0
        self.troubles: deque[str] = deque(maxlen=TROUBLES_MAX)
        self._collect = collect
        self._config = config
        self._environment = environment
        self._others_closed = others_closed
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

    def finish(self, *, quickly: bool = False) -> None:
        """Deliver a last time, wait for one more scrape where there were some, and close.

        Called when the totals are closed. The host's other ranks, which end at about the same
        time, are waited for a little, so that the last figures are those of all.

        Args:
            quickly: Whether the training waits for this process, which then waits for little.
        """
        within_s = QUICK_S if quickly else FINISH_S
        give_up_s = time.monotonic() + min(within_s, OTHERS_S)
        while not self._others_closed() and time.monotonic() < give_up_s:
            time.sleep(0.05)
        for delivery in self._deliveries:
            delivery.end(within_s)
        if not quickly:
            self._await_scrape()
        for delivery in self._deliveries:
            delivery.join()
        if self._endpoint is not None:
            self._remove_targets(self._endpoint)
            self._endpoint.close()

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
            self._trouble(without_path("file_sd", error))

    def _ways(self) -> list[tuple[str, Way]]:
        """What was asked for, by name; what cannot be begun is said and left out."""
        makers: dict[str, Callable[[], Way]] = {
            "textfile": self._to_textfile,
            "pushgateway": self._to_pushgateway,
            "remote_write": self._to_remote_write,
            "otlp": self._to_otlp,
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
                    f'pip install "greenai[{EXTRAS[name]}]"'
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

    def _to_otlp(self) -> Way:
        from greenai.exporters.otlp import OtlpSender  # noqa: PLC0415 - an extra

        return OtlpSender(self._receiver("OTLP", "otlp"), self._registry).deliver

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

    def _remove_targets(self, endpoint: Endpoint) -> None:
        from greenai.exporters.discovery import remove_targets  # noqa: PLC0415 - few runs want it

        if self._outlets.file_sd is not None:
            remove_targets(
                self._path(self._outlets.file_sd), endpoint.address, endpoint.port,
                scheme=self._outlets.scheme,
            )  # fmt: skip

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)
        _log(text)


def _the_same(figures: Figures) -> Figures:
    return figures


def _log(text: str) -> None:
    """Write a line into sampler.log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
