"""The rules of Grafana's dashboard-linter, worked out anew: its program is in no package index.

Left out are its rules on labels and variables named ``job`` and ``instance``: a run is known by
``run_id``, wherever it is scraped and whatever the scrape job is called; ``test_dashboards.py``
holds what stands in their place. A counter may also be under ``max_over_time``: each begins at 0
with its attempt, so that its highest value is its growth, what came before the first scrape
included. Annotations have windows of their own: Grafana does not work ``$__rate_interval`` out for
them as it does for panels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulation.grafana_text import BUILT_IN, asked, filled_in, panels

if TYPE_CHECKING:
    from collections.abc import Iterator

promql = pytest.importorskip("promql_parser", reason="parses PromQL; of the extra dev")

ANY = dict.fromkeys(("run", "project", "variant", "baseline"), "x") | {"price": "0.3"}
OF_COUNTERS = {"rate", "irate", "increase", "max_over_time"}
Dashboard = dict[str, Any]


@pytest.fixture(params=["run", "compare", "fleet"])
def dashboard(request: pytest.FixtureRequest, shipped: dict[str, Dashboard]) -> Dashboard:
    return shipped[request.param]


def nodes(dashboard: Dashboard, kind: type) -> Iterator[tuple[str, Any, Any]]:
    """Expression as it stands, node of that kind, and the call right around it or None."""
    for one in asked(dashboard):
        if not one.panel:
            continue
        around: list[Any] = []
        found: list[Any] = []

        def enter(node: Any, around: list[Any] = around, found: list[Any] = found) -> None:
            if isinstance(node, kind):
                calls = [outer for outer in around if isinstance(outer, promql.Call)]
                found.append((node, calls[-1].func.name if calls else None))
            around.append(node)

        def leave(node: Any, around: list[Any] = around) -> None:
            del node
            around.pop()

        promql.walk(promql.parse(filled_in(one.expr, ANY)), enter, leave)
        yield from ((one.expr, node, call) for node, call in found)


def test_template_datasource(dashboard: Dashboard) -> None:
    (source,) = (one for one in dashboard["templating"]["list"] if one["type"] == "datasource")
    assert (source["name"], source["label"]) == ("datasource", "Data source")
    assert source["query"] == "prometheus"


def test_template_on_time_range_reload(dashboard: Dashboard) -> None:
    queries = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]
    assert queries
    assert {one["refresh"] for one in queries} == {2}


def test_template_unused(dashboard: Dashboard) -> None:
    text = " ".join(one.expr for one in asked(dashboard))
    text += " ".join(str(one["query"]) for one in dashboard["templating"]["list"])
    names = {one["name"] for one in dashboard["templating"]["list"]} - {"datasource"}
    assert {name for name in names if f"${name}" not in text} == set()


def test_panel_datasource(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        asked_of = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert asked_of == [{"type": "prometheus", "uid": "${datasource}"}] * len(asked_of)


def test_panel_title_description(dashboard: Dashboard) -> None:
    assert all(panel["title"] for panel in panels(dashboard))
    assert all(panel["description"].endswith(".") for panel in panels(dashboard))
    assert dashboard["description"]


def test_panel_units(dashboard: Dashboard) -> None:
    assert all(panel["fieldConfig"]["defaults"].get("unit") for panel in panels(dashboard))


def test_panel_no_targets(dashboard: Dashboard) -> None:
    assert all(panel["targets"] for panel in panels(dashboard))


def test_target_rate_interval(dashboard: Dashboard) -> None:
    interval = promql.parse_duration(BUILT_IN["__rate_interval"])
    assert list(BUILT_IN.values()).count(BUILT_IN["__rate_interval"]) == 1
    for expr, selector, call in nodes(dashboard, promql.MatrixSelector):
        if call in {"rate", "irate", "increase", "changes"}:
            assert selector.range == interval, expr


def test_target_counter_aggregation(dashboard: Dashboard) -> None:
    for expr, selector, call in nodes(dashboard, promql.VectorSelector):
        if not selector.name.endswith("_total"):
            continue
        so_far = f"{selector.name}{{"  # shown as it stands: what an attempt has used by then
        assert call in OF_COUNTERS or f"({so_far}" in expr, expr


def test_target_histogram(dashboard: Dashboard) -> None:
    for one in asked(dashboard):
        if "histogram_quantile" in one.expr:
            assert "sum by (le) (rate(" in one.expr


def test_uneditable(dashboard: Dashboard) -> None:
    assert dashboard["editable"] is False


def test_refresh_and_time_are_set(dashboard: Dashboard) -> None:
    assert dashboard["refresh"] in {"10s", "30s", "1m"}
    assert dashboard["time"]["from"].startswith("now-")
    assert dashboard["timezone"] == "browser"
