"""Leaves the final totals of a job at a Pushgateway, where Prometheus finds them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, push_to_gateway
from prometheus_client.registry import Collector

from greenai.exporters.figures import Figures
from greenai.exporters.prometheus import label_text
from greenai.exporters.ranks import counted_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from greenai.exporters.delivery import Receiver

JOB = "greenai"


def groups(found: Figures | Sequence[Figures]) -> list[tuple[dict[str, str], Figures]]:
    """Labels of the group and figures, for each rank: a group's labels replace the samples'.

    Example:
        >>> from greenai.exporters.figures import Figures
        >>> [labels for labels, _ in groups(Figures(run_id="a", attempt=0, info={"host": "h"}))]
        [{'run_id': 'a', 'attempt': '0', 'host': 'h', 'rank': '0'}]
    """
    several = counted_once([found] if isinstance(found, Figures) else found)
    return [
        (
            {
                "run_id": label_text(one.run_id),
                "attempt": str(one.attempt),
                "host": label_text(one.info.get("host", "")),
                "rank": str(one.rank),
            },
            one,
        )
        for one in several
    ]


def push_totals(
    receiver: Receiver, registry: CollectorRegistry, grouping: Mapping[str, str]
) -> None:
    """Replace the group's metrics by the totals; other groups, and so other attempts, stay.

    A Pushgateway never forgets, so a gauge in it would say for ever what a GPU drew last year:
    only what a run's end leaves true is pushed, counters, histograms and facts. Nothing is ever
    deleted: nobody here knows whether it has been scraped.

    Args:
        receiver: The gateway.
        registry: Whose families are pushed.
        grouping: Labels of the group: run_id, attempt, host and rank.

    Raises:
        UndeliveredError: The gateway did not take them.
    """

    def handler(
        url: str,
        method: str,
        timeout: float | None,
        headers: Sequence[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        del timeout  # the receiver's own
        return lambda: receiver.send(method, url, data, dict(headers))

    totals = CollectorRegistry(auto_describe=False)
    totals.register(_Totals(registry))
    push_to_gateway(
        receiver.url, job=JOB, registry=totals, grouping_key=dict(grouping), handler=handler
    )


class _Totals(Collector):
    """The families of a registry that hold after the run's end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def describe(self) -> list[Metric]:
        """Say nothing, so that registering does not ask for figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all but the gauges."""
        yield from (one for one in self._registry.collect() if one.type != "gauge")
