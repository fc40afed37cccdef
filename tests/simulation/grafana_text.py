"""What Grafana does with the text of a dashboard before Prometheus sees it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUILT_IN = {
    "__rate_interval": "4s",
    "__range": "60s",
    "__interval": "1s",
    "__interval_ms": "1000",
}
"""Grafana's own variables, as for a range of a minute that is scraped each second."""


class Asked(NamedTuple):
    """One expression of a dashboard.

    Attributes:
        where: Dashboard and panel, for people.
        expr: As it stands in the dashboard.
        instant: Whether only its latest values are shown.
        panel: The panel; empty for an annotation.
        legend: Names of its series.
    """

    where: str
    expr: str
    instant: bool
    panel: Mapping[str, Any]
    legend: str


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels that show something."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def asked(dashboard: Mapping[str, Any]) -> Iterator[Asked]:
    """Every expression of panels and annotations."""
    title = dashboard["title"]
    for panel in panels(dashboard):
        for target in panel["targets"]:
            where = f"{title}: {panel['title']} ({target['refId']})"
            instant, legend = target.get("instant", False), target["legendFormat"]
            yield Asked(where, target["expr"], instant, panel, legend)
    for event in dashboard["annotations"].get("list", ()):
        legend = f"{event['titleFormat']} {event['textFormat']}"
        yield Asked(f"{title}: {event['name']}", event["expr"], False, {}, legend)


class LookedUp(NamedTuple):
    """What a variable asks the data source.

    Attributes:
        name: Of the variable.
        expr: Selector or, where there is no label, expression.
        label: Whose values are taken; empty where those of an expression's series are.
        regex: Takes value and text from a series as it is written, in Python's form.
    """

    name: str
    expr: str
    label: str
    regex: str


def looked_up(dashboard: Mapping[str, Any]) -> Iterator[LookedUp]:
    """What the variables ask the data source."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        regex = variable.get("regex", "").strip("/").replace("(?<", "(?P<")
        if match := re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]):
            yield LookedUp(variable["name"], match[1], match[2], regex)
        else:
            match = re.fullmatch(r"query_result\((.+)\)", variable["query"])
            assert match, variable["query"]
            yield LookedUp(variable["name"], match[1], "", regex)


def choices(regex: str, series: list[dict[str, Any]]) -> dict[str, str]:
    """Text by value, in order, of the series of an expression, as Grafana writes and reads them."""
    found = {}
    for row in series:
        labels = ",".join(f'{name}="{value}"' for name, value in row.items() if name)
        if match := re.search(regex, f"{{{labels}}} {row['']}"):
            found[match["value"]] = match["text"]
    return found


def filled_in(expr: str, values: Mapping[str, str]) -> str:
    """Replace variables; one that has no value fails. ``$1`` is PromQL's own."""

    def value(match: re.Match[str]) -> str:
        return {**BUILT_IN, **values}[match[1] or match[2]]

    return re.sub(r"\$(?:\{(\w+)\}|([a-z_]\w*))", value, expr)


def load(text: str) -> dict[str, Any]:
    """Dashboard of a JSON text."""
    found: dict[str, Any] = json.loads(text)
    return found
