"""What the dashboards share: variables, annotations, links, and the numbers of panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from greenai.dashboards.expressions import newest_first
from greenai.dashboards.panels import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder

    from greenai.dashboards.panels import Panel

    Event = build.AnnotationQuery

PRICE_UNKNOWN = "NaN"
"""A number in PromQL that makes money unknown until a price is given."""


def framed(
    title: str,
    uid: str,
    description: str,
    rows: Mapping[str, Sequence[Panel]],
    variables: Iterable[Builder[dashboard.VariableModel]],
    *,
    since: str,
    refresh: str,
    annotations: Iterable[Event] = (),
) -> str:
    """Lay out a dashboard and encode it as JSON, the same for the same panels.

    Args:
        title: Of the dashboard.
        uid: By which links find it.
        description: What it shows.
        rows: Panels by the title of their row.
        variables: Besides the data source.
        since: Start of the time range.
        refresh: How often it is asked anew.
        annotations: Events that are drawn across the panels.
    """
    made = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["greenai"])
        .readonly()
        .refresh(refresh)
        .time(since, "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .with_variable(
            build.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for variable in variables:
        made = made.with_variable(variable)
    for annotation in annotations:
        made = made.annotation(annotation)
    for name, panels in rows.items():
        made = made.with_row(build.Row(name))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    for number, one in enumerate(built.panels or [], start=1):
        one.id_val = number  # the SDK numbers every row 0 and no panel
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(built) + "\n"


def chooser(name: str, label: str, query: str, *, several: bool = True) -> build.QueryVariable:
    """A variable whose values come from the data source.

    Args:
        name: By which expressions name it.
        label: What people read.
        query: ``label_values(...)``.
        several: Whether several and all can be chosen.
    """
    variable = (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_DESC)
    )
    if not several:
        return variable
    # Not ".+": a run that names no project has an empty one.
    everything = dashboard.VariableOption(text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def which(*, several: bool) -> list[build.QueryVariable]:
    """Project, variant and run, each narrowing the next."""
    info = "greenai_run_info"
    by_project = 'project=~"$project"'
    by_variant = f'{by_project},variant=~"$variant"'
    return [
        chooser("project", "Project", f"label_values({info}, project)"),
        chooser("variant", "Variant", f"label_values({info}{{{by_project}}}, variant)"),
        chooser("run", "Run", f"label_values({info}{{{by_variant}}}, run_id)")
        if several
        else _newest_run(),
    ]


def _newest_run() -> build.QueryVariable:
    """One run, the newest where none is chosen, shown by its variant: identities say nothing."""
    return (
        chooser("run", "Run", f"query_result({newest_first()})", several=False)
        .regex('/run_id="(?<value>[^"]+)".*shown="(?<text>[^"]+)"/')
        .sort(dashboard.VariableSort.DISABLED)
    )


def price() -> build.TextBoxVariable:
    """Price of a kWh, which no metric tells."""
    return (
        build.TextBoxVariable("price")
        .label("Price per kWh")
        .description("In any currency; money is unknown until it is given.")
        .default_value(PRICE_UNKNOWN)
        .current(dashboard.VariableOption(text=PRICE_UNKNOWN, value=PRICE_UNKNOWN))
    )


def event(name: str, color: str, expr: str, text: str, *, at_value: bool = False) -> Event:
    """Draw a line across all panels where an expression has a sample.

    Args:
        name: Of all events of the kind.
        color: Of the line.
        expr: PromQL; it has a sample above 0 at the event.
        text: Of one event; ``{{label}}`` is filled in.
        at_value: Whether the sample's value is the event's time, in Unix milliseconds.
    """
    return (
        build.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expr)
        .step("10s")
        .title_format(name)
        .text_format(text)
        .tag_keys("run_id")
        .use_value_for_time(at_value)
    )


def _others() -> build.DashboardLink:
    """Links to the other dashboards, with the time range kept."""
    return (
        build.DashboardLink("greenai")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags(["greenai"])
        .keep_time(True)
        .include_vars(False)
    )
