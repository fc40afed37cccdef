"""Laws of the dashboards as text: they are what the code builds, and ask for what there is."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulation.grafana_text import Asked, asked, filled_in, looked_up, panels

from greenai.dashboards import DASHBOARDS, text_of
from greenai.metrics import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

promql = pytest.importorskip("promql_parser", reason="parses PromQL; of the extra dev")
from simulation.promql_labels import Unknown, families_of, labels_of  # noqa: E402 - it needs it

pytestmark = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
"""Classic dashboards are chosen: they can be imported and provisioned."""

ROOT = Path(__file__).parents[2]
UNITS = json.loads(Path(__file__).with_name("units.json").read_text(encoding="utf-8"))
ANY = dict.fromkeys(("run", "project", "variant", "baseline"), "x") | {"price": "0.3"}
Shipped = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def every(shipped: Shipped) -> list[Asked]:
    """Every expression of every dashboard, its variables filled in."""
    found = [one for dashboard in shipped.values() for one in asked(dashboard)]
    return [one._replace(expr=filled_in(one.expr, ANY)) for one in found]


def every_panel(shipped: Shipped) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, dashboard in shipped.items():
        yield from ((f"{name}: {panel['title']}", panel) for panel in panels(dashboard))


def units_of(panel: dict[str, Any]) -> Iterator[str]:
    yield panel["fieldConfig"]["defaults"]["unit"]
    for override in panel["fieldConfig"]["overrides"]:
        yield from (one["value"] for one in override["properties"] if one["id"] == "unit")


def test_what_is_shipped_is_what_the_code_builds() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="builds dashboards; of the extra dev")
    from greenai.dashboards.build import built  # noqa: PLC0415 - it needs the SDK

    names = {file.path.rpartition("/")[2]: name for name, file in DASHBOARDS.items()}
    assert {names[file]: text for file, text in built().items()} == {
        name: text_of(name) for name in DASHBOARDS
    }, "run python -m greenai.dashboards.build"


def test_grafanas_own_model_of_a_dashboard_loses_nothing_of_ours(shipped: Shipped) -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="models dashboards; of the extra dev")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415 - the same
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415 - the same

    for name, dashboard in shipped.items():
        again = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(
            Dashboard.from_json(dashboard)
        )
        assert again + "\n" == text_of(name)


def test_panels_have_numbers_of_their_own_and_lie_beside_one_another(shipped: Shipped) -> None:
    for dashboard in shipped.values():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert numbers == list(range(1, len(numbers) + 1))
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        for one, other in itertools.combinations(places, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or above, (one, other)


def test_no_title_and_no_uid_stands_twice(shipped: Shipped) -> None:
    assert {one["uid"] for one in shipped.values()} == {f"greenai-{name}" for name in DASHBOARDS}
    for dashboard in shipped.values():
        rows: dict[str, list[str]] = {}
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                titles = rows[panel["title"]] = []
            else:
                titles.append(panel["title"])
        assert all(len(titles) == len(set(titles)) > 0 for titles in rows.values())


def test_no_data_source_is_named(shipped: Shipped) -> None:
    for name in DASHBOARDS:
        text = text_of(name)
        assert set(re.findall(r'"uid": "(.*?)"', text)) == {"${datasource}", f"greenai-{name}"}
        assert "__inputs" not in text
        assert shipped[name].get("id") is None


def test_every_unit_is_one_of_grafanas(shipped: Shipped) -> None:
    for where, panel in every_panel(shipped):
        for unit in units_of(panel):
            known = unit in UNITS["ids"] or unit.startswith(tuple(UNITS["prefixes"]))
            assert known, f"{where} has unit {unit}"


def test_no_unit_is_listed_in_vain(shipped: Shipped) -> None:
    used = {unit for _, panel in every_panel(shipped) for unit in units_of(panel)}
    assert set(UNITS["ids"]) <= used


def test_every_expression_asks_for_labels_that_its_series_have(every: list[Asked]) -> None:
    for one in every:
        labels = labels_of(promql.parse(one.expr))
        wanted = set(re.findall(r"\{\{(\w+)\}\}", one.legend))
        assert wanted <= labels, f"{one.where} names {wanted} of {labels}"


def test_the_rows_of_a_table_are_told_apart_by_its_labels(every: list[Asked]) -> None:
    for one in every:
        if one.panel.get("type") != "table":
            continue
        renamed = one.panel["transformations"][1]["options"]["renameByName"]
        keys = {name for name in renamed if not name.startswith("Value #")}
        assert labels_of(promql.parse(one.expr)) == keys, one.where


def test_lines_against_something_are_parted_by_their_labels(every: list[Asked]) -> None:
    for one in every:
        if one.panel.get("type") == "xychart":
            keys = one.panel["transformations"][1]["options"]["fields"]
            assert labels_of(promql.parse(one.expr)) == {*keys, "run_id"}, one.where


def test_links_lead_to_a_dashboard_and_fill_its_variables(shipped: Shipped) -> None:
    names = {one["name"] for one in shipped["run"]["templating"]["list"]}
    links = re.findall(r'"url": "(.*?)"', text_of("fleet"))
    assert len(links) == 2
    for link in links:
        path, _, words = link.partition("?")
        assert path == f"/d/{shipped['run']['uid']}"
        assert set(re.findall(r"var-(\w+)=", words)) <= names
        assert "${datasource:queryparam}" in words


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("greenai_nothing", "no 'greenai_nothing'"),
        ("greenai_step_energy_joules", "no 'greenai_step_energy_joules'"),
        ('greenai_loss{step="1"}', "no label 'step'"),
        ("sum by (project) (greenai_loss)", "no label 'project'"),
        ("greenai_loss * on (run_id) group_left (phase) greenai_run_info", "no label 'phase'"),
        ("sum by (run_id) (greenai_loss) / sum(greenai_loss)", "matched by unlike labels"),
    ],
)
def test_a_label_or_name_that_is_made_up_is_seen(expr: str, reason: str) -> None:
    with pytest.raises(Unknown, match=re.escape(reason)):
        labels_of(promql.parse(expr))


def test_variables_are_asked_of_what_there_is(shipped: Shipped) -> None:
    for dashboard in shipped.values():
        found = list(looked_up(dashboard))
        assert {"project", "variant", "run"} <= {one.name for one in found}
        for place, one in enumerate(found):
            labels = labels_of(promql.parse(filled_in(one.expr, ANY)))
            assert {one.label} <= labels or {"run_id", "shown"} <= labels
            later = {other.name for other in found[place:]}
            assert not {name for name in later if f"${name}" in one.expr}, one


def test_every_family_but_a_few_is_shown(every: list[Asked]) -> None:
    shown = set().union(*(families_of(one.expr) for one in every))
    not_shown = {family.name for family in FAMILIES} - shown
    assert not_shown == {
        "greenai_batches_total",
        "greenai_samples_total",
        "greenai_global_step",
        "greenai_forecast_emissions_low_co2e_grams",
        "greenai_forecast_emissions_high_co2e_grams",
    }


def test_the_documents_tell_of_every_metric_that_is_asked_for_and_every_rule(
    every: list[Asked],
) -> None:
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for one in every:
        assert all(f"| `{family}` |" in metrics for family in families_of(one.expr))
    text = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    for name in re.findall(r"^ +- (?:alert|record): (\S+)", text_of("rules"), flags=re.MULTILINE):
        assert f"`{name}`" in text
